"""Words get timestamps if wanted and possible, and the aligner is loaded for the first of them."""

from collections.abc import Callable

import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import join_segments
from worker.engines.catalog import QWEN3_WORD_LANGUAGES
from worker.engines.protocol import (
    DecodingStopped,
    ModelUnavailable,
    Samples,
    Span,
    Window,
    WordsUnsupported,
)
from worker.engines.qwen3.token_generator import OutOfDeviceMemory
from worker.engines.qwen3.transcripts import DecodedPart, compose_transcripts
from worker.engines.qwen3.words import AlignedUnit, WordTimer

NONE = TranscriptionRequest(word_timestamps=WordTimestamps.NONE)
WELCOME = TranscriptionRequest(word_timestamps=WordTimestamps.WELCOME)
REQUIRED = TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)


class AlignerStandIn:
    """Spreads the words of a text evenly over its audio, unless there is to be too little memory."""

    def __init__(self, *, has_memory: bool = True) -> None:
        self.calls: list[tuple[str, str]] = []
        self._has_memory = has_memory

    def align(
        self, samples: Samples, text: str, language: str, _is_stopped: Callable[[], bool]
    ) -> list[AlignedUnit]:
        self.calls.append((text, language))
        if not self._has_memory:
            raise OutOfDeviceMemory("too little memory")
        words = [word.strip(".,?") for word in text.split()]
        step_s = len(samples) / SAMPLE_RATE_HZ / len(words)
        return [AlignedUnit(word, place * step_s, (place + 1) * step_s) for place, word in enumerate(words)]


class Loader:
    """Loads its aligner, and notes how often; raises until it may."""

    def __init__(self, aligner: AlignerStandIn | None = None, *, failures: int = 0) -> None:
        self.aligner = aligner or AlignerStandIn()
        self.loads = 0
        self._failures = failures

    def __call__(self) -> AlignerStandIn:
        self.loads += 1
        if self.loads <= self._failures:
            raise ModelUnavailable("no such aligner")
        return self.aligner


class Listener:
    """A listener that asks for a stop at the check of that number."""

    def __init__(self, *, max_checks: int = 1_000) -> None:
        self._max_checks = max_checks

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        raise AssertionError

    def is_stopped(self) -> bool:
        self._max_checks -= 1
        return self._max_checks < 0


def make_part(text: str, language: str | None, *, index: int = 0, start_s: int = 10) -> DecodedPart:
    span = Span(start_s * SAMPLE_RATE_HZ, (start_s + 2) * SAMPLE_RATE_HZ)
    samples = np.zeros(span.length, np.float32)
    return DecodedPart(Window(index, (span,), samples, span.end), text, language)


def make_timer(load: Callable[[], AlignerStandIn]) -> WordTimer:
    return WordTimer(load, QWEN3_WORD_LANGUAGES)


def test_nothing_is_loaded_for_a_request_without_word_timestamps() -> None:
    load = Loader()
    parts = [make_part("Hello.", "en")]

    assert make_timer(load).add_words(parts, NONE, Listener()) == parts
    assert load.loads == 0


@pytest.mark.parametrize("request_", [WELCOME, REQUIRED])
def test_nothing_is_loaded_for_parts_without_speech(request_: TranscriptionRequest) -> None:
    load = Loader()
    parts = [make_part("", None), make_part("...", "fi")]

    assert make_timer(load).add_words(parts, request_, Listener()) == parts
    assert load.loads == 0


@pytest.mark.parametrize("request_", [WELCOME, REQUIRED])
def test_the_aligner_is_loaded_once_and_gets_text_and_language(request_: TranscriptionRequest) -> None:
    load = Loader()
    timer = make_timer(load)
    parts = [make_part("Hello, you.", "en"), make_part("", None), make_part("Guten Tag", "de", start_s=20)]

    first, silent, second = timer.add_words(parts, request_, Listener())
    timer.add_words(parts, request_, Listener())

    assert load.loads == 1
    assert load.aligner.calls[:2] == [("Hello, you.", "en"), ("Guten Tag", "de")]
    assert [(word.text, word.start_s, word.end_s) for word in first.words] == [
        ("Hello", 10.0, 11.0),
        ("you", 11.0, 12.0),
    ]
    assert second.words[0].start_s == 20.0
    assert silent.words == ()


@pytest.mark.parametrize(("language", "named"), [("fi", "Finnish"), (None, "an unrecognised language")])
def test_required_words_in_a_language_without_them_are_refused_before_any_work(
    language: str | None, named: str
) -> None:
    load = Loader()
    parts = [make_part("Hello.", "en"), make_part("Hyvää päivää.", language, start_s=20)]

    with pytest.raises(WordsUnsupported, match=rf"20\.00 s to 22\.00 s is in .*{named}.*Request none"):
        make_timer(load).add_words(parts, REQUIRED, Listener())

    assert load.loads == 0


def test_welcome_words_are_left_out_in_a_language_without_them() -> None:
    english, finnish = make_part("Hello.", "en"), make_part("Hyvää päivää.", "fi", start_s=20)

    timed = make_timer(Loader()).add_words([english, finnish], WELCOME, Listener())

    assert len(timed[0].words) == 1
    assert timed[1] == finnish


def test_without_an_aligner_no_language_has_words() -> None:
    load = Loader()
    timer = WordTimer(load, frozenset())
    part = make_part("Hello.", "en")

    assert timer.add_words([part], WELCOME, Listener()) == [part]
    with pytest.raises(WordsUnsupported, match="English"):
        timer.add_words([part], REQUIRED, Listener())
    assert load.loads == 0


def test_a_missing_aligner_fails_only_requests_that_require_words() -> None:
    load = Loader(failures=2)
    timer = make_timer(load)
    part = make_part("Hello.", "en")

    assert timer.add_words([part, part], WELCOME, Listener()) == [part, part]
    assert timer.add_words([part], WELCOME, Listener()) == [part]
    assert load.loads == 1
    with pytest.raises(ModelUnavailable, match="no such aligner"):
        timer.add_words([part], REQUIRED, Listener())
    assert timer.add_words([part], REQUIRED, Listener())[0].words
    assert timer.add_words([part], WELCOME, Listener())[0].words
    assert load.loads == 3


def test_too_little_memory_fails_only_requests_that_require_words() -> None:
    timer = make_timer(Loader(AlignerStandIn(has_memory=False)))
    part = make_part("Hello.", "en")

    assert timer.add_words([part], WELCOME, Listener()) == [part]
    with pytest.raises(OutOfDeviceMemory):
        timer.add_words([part], REQUIRED, Listener())


@pytest.mark.parametrize("request_", [WELCOME, REQUIRED])
def test_a_stop_takes_effect_between_two_alignments(request_: TranscriptionRequest) -> None:
    load = Loader()

    with pytest.raises(DecodingStopped):
        make_timer(load).add_words([make_part("Hello.", "en")] * 3, request_, Listener(max_checks=2))

    assert len(load.aligner.calls) == 2


def test_segments_are_sentences_with_words_and_one_for_each_part_without() -> None:
    parts = [
        make_part("Hello. How are you?", "en"),
        make_part("Guten Tag. Na gut.", "de", start_s=14),
        make_part("", None, index=1, start_s=20),
    ]
    windows = [part.window for part in parts[1:]]

    timed = compose_transcripts(windows, make_timer(Loader()).add_words(parts, WELCOME, Listener()), {})
    plain = compose_transcripts(windows, parts, {})

    assert [segment.text for segment in timed[0].segments] == [
        "Hello.",
        "How are you?",
        "Guten Tag.",
        "Na gut.",
    ]
    assert [(segment.start_s, segment.end_s) for segment in plain[0].segments] == [(10.0, 12.0), (14.0, 16.0)]
    assert join_segments(timed[0].segments) == join_segments(plain[0].segments)
    assert timed[1].segments == plain[1].segments == ()
