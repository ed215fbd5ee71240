"""The scripted engine derives its text from the audio, however it is cut, and misbehaves on request."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import Checkpoint, TranscriptionRequest, WordTimestamps
from shared.transcripts import WindowTranscript, join_segments
from tests.support.audio import make_tones
from tests.support.listener import Listener
from tests.support.rows import decode_windows, open_outcome
from worker.audio.windows import cut_fixed_windows
from worker.engines.protocol import (
    DecodingStopped,
    ModelUnavailable,
    Row,
    RowFailure,
    RowStopped,
    Samples,
    Window,
)
from worker.engines.scripted.engine import ScriptedEngine, expected_words
from worker.settings import WorkerSettings

AUDIO = (make_tones(12.5) / 32_768).astype(np.float32)


def cut(audio: Samples, window_s: float, *, first_index: int = 0) -> list[Window]:
    return list(cut_fixed_windows([audio], window_s, checkpoint=Checkpoint(first_index)))


def decode(
    windows: list[Window],
    settings: WorkerSettings | None = None,
    listener: Listener | None = None,
    **context: Any,
) -> list[WindowTranscript]:
    request = TranscriptionRequest(context=json.dumps(context))
    engine = ScriptedEngine(settings or WorkerSettings())
    return decode_windows(engine, windows, request, listener or Listener())


@given(st.integers(1, 13))
def test_the_text_does_not_depend_on_where_windows_are_cut(window_s: int) -> None:
    transcripts = decode(cut(AUDIO, window_s))

    segments = [segment for transcript in transcripts for segment in transcript.segments]
    assert join_segments(segments).split() == expected_words(AUDIO)


def test_there_is_a_word_for_each_whole_second_that_differs_with_the_audio() -> None:
    words = expected_words(AUDIO)

    assert len(words) == 12
    assert len(set(words)) > 6
    assert expected_words(AUDIO[SAMPLE_RATE_HZ:]) == words[1:]
    assert expected_words(AUDIO[: SAMPLE_RATE_HZ - 1]) == []


def test_samples_outside_the_range_are_clipped() -> None:
    assert expected_words(np.full(SAMPLE_RATE_HZ, 2.0, np.float32)) == expected_words(
        np.full(SAMPLE_RATE_HZ, 32_767 / 32_768, np.float32)
    )


def test_a_window_has_one_segment_and_a_word_each_second_when_asked() -> None:
    second_window = cut(AUDIO, 5)[1]
    request = TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)

    (transcript,) = decode_windows(ScriptedEngine(WorkerSettings()), [second_window], request, Listener())

    (segment,) = transcript.segments
    assert (segment.start_s, segment.end_s, segment.language) == (5.0, 10.0, "en")
    assert [(word.start_s, word.end_s) for word in segment.words] == [(5 + n, 6 + n) for n in range(5)]
    assert [word.text for word in segment.words] == segment.text.split()


def test_words_have_no_times_unless_asked() -> None:
    (transcript, *_) = decode(cut(AUDIO, 5))

    assert transcript.segments[0].words == ()


def test_less_than_a_second_is_not_worth_a_word() -> None:
    assert decode(cut(AUDIO[:8_000], 5)) == [WindowTranscript(())]


def test_the_partials_of_a_window_are_its_text() -> None:
    listener = Listener()

    transcripts = decode(cut(AUDIO, 5), listener=listener)

    assert listener.texts == {
        index: join_segments(transcript.segments) for index, transcript in enumerate(transcripts)
    }


@pytest.mark.parametrize("speed", [0, 1_000])
def test_a_stop_takes_effect_between_two_words(speed: float) -> None:
    listener = Listener(max_partials=2)

    with pytest.raises(DecodingStopped):
        decode(cut(AUDIO, 30), listener=listener, speed=speed)

    assert listener.texts == {0: " ".join(expected_words(AUDIO)[:2])}


def test_a_stop_takes_effect_while_a_word_is_awaited() -> None:
    with pytest.raises(DecodingStopped):
        decode(cut(AUDIO, 30), listener=Listener(max_partials=0), speed=1e-6)


def test_a_stop_may_be_ignored() -> None:
    (transcript,) = decode(cut(AUDIO, 30), listener=Listener(max_partials=0), misbehaviour="ignore_stop")

    assert transcript.segments[0].text.split() == expected_words(AUDIO)


def test_an_error_is_raised_in_the_middle_of_a_window() -> None:
    listener = Listener()

    with pytest.raises(RuntimeError, match="raises an error"):
        decode(cut(AUDIO, 30), WorkerSettings(scripted_misbehaviour="raise"), listener)

    assert listener.texts == {0: " ".join(expected_words(AUDIO)[:6])}


def test_only_the_window_that_is_named_misbehaves() -> None:
    first, second, _ = cut(AUDIO, 5, first_index=7)

    assert decode([first], misbehaviour="raise", window=8)[0].segments
    with pytest.raises(RuntimeError):
        decode([second], misbehaviour="raise", window=8)


def test_with_a_marker_it_misbehaves_once(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(RuntimeError):
        decode(cut(AUDIO, 5), misbehaviour="raise", marker=str(marker))

    assert marker.exists()
    assert len(decode(cut(AUDIO, 5), misbehaviour="raise", marker=str(marker))) == 3


@pytest.mark.parametrize("context", [None, "", "names: Fisichella", "[1, 2]", "7"])
def test_a_context_that_is_not_an_object_changes_nothing(context: str | None) -> None:
    request = TranscriptionRequest(context=context)

    assert decode_windows(ScriptedEngine(WorkerSettings()), cut(AUDIO, 30), request, Listener())


def test_a_context_with_an_unknown_field_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="misbehavior"):
        decode(cut(AUDIO, 5), misbehavior="raise")


def test_loading_may_fail() -> None:
    engine = ScriptedEngine(WorkerSettings(scripted_misbehaviour="fail_load"))

    with pytest.raises(ModelUnavailable):
        engine.load(lambda phase: None)


def test_loading_reports_a_phase_and_the_device() -> None:
    phases: list[str] = []

    assert ScriptedEngine(WorkerSettings()).load(phases.append) == "cpu"
    assert phases == ["reading the script"]


def test_jobs_of_a_batch_advance_side_by_side_and_end_alone() -> None:
    engine = ScriptedEngine(WorkerSettings(batch_windows=3))
    broken = TranscriptionRequest(context='{"misbehaviour": "raise"}')
    stopped, others = Listener(max_partials=0), Listener()
    (window,) = cut(AUDIO, 30)
    rows = [
        Row(window, broken, Listener()),
        Row(window, TranscriptionRequest(), stopped),
        Row(window, TranscriptionRequest(), others),
    ]

    ends = {id(row): outcome for row, outcome in engine.decode_rows(rows)}

    failure, stop, transcript = (ends[id(row)] for row in rows)
    assert isinstance(failure, RowFailure)
    assert stop == RowStopped()
    assert open_outcome(transcript).segments[0].text == " ".join(expected_words(AUDIO))


class SecondWindowListener(Listener):
    """A listener that notes the first partial of the second window."""

    def __init__(self) -> None:
        super().__init__()
        self.has_second = threading.Event()

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        super().on_partial(window, delta, tail, language)
        if window == 1:
            self.has_second.set()


def test_a_window_has_no_partials_before_the_row_of_the_window_before_was_taken() -> None:
    listener, request = SecondWindowListener(), TranscriptionRequest()
    first, second, _ = cut(AUDIO, 5)
    rows = [Row(first, request, listener), Row(second, request, listener), Row(first, request, Listener())]

    for row, _ in ScriptedEngine(WorkerSettings(batch_windows=3)).decode_rows(rows):
        if row is rows[0]:
            assert not listener.has_second.wait(0.1)

    assert listener.has_second.is_set()
