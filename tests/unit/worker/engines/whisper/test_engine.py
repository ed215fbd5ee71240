"""Segments of faster-whisper become segments of the upload; a stand-in takes faster-whisper's place here."""

import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, SegmentDecoding, Word, join_segments
from tests.support.listener import Listener
from tests.support.rows import decode_windows, open_outcome
from worker.engines.protocol import DecodingStopped, Row, RowStopped, Samples, Span, Window
from worker.engines.whisper.engine import WhisperEngine
from worker.engines.whisper.model import DecodingOptions
from worker.engines.whisper.passes import EncodedWindow
from worker.settings import WorkerSettings

Found = SimpleNamespace
DECODED = Found(tokens=[7, 8], temperature=0.2, avg_logprob=-0.31, no_speech_prob=0.05, seek=0)


class WhisperStandIn:
    """A model that finds given segments in each window, and records the options of each call."""

    def __init__(self, *windows: list[Found], detected: tuple[str, float] = ("en", 0.9)) -> None:
        self.options: list[DecodingOptions] = []
        self.detections = 0
        self.detected = detected
        self._windows = list(windows)

    def encode(self, samples: Samples, pauses: Sequence[int] = ()) -> EncodedWindow:
        return EncodedWindow(None, None)

    def detect_language(self, window: EncodedWindow) -> tuple[str, float]:
        self.detections += 1
        return self.detected

    def choose_language(self, window: EncodedWindow, codes: Sequence[str]) -> tuple[str, float]:
        return codes[-1], 0.9

    def generate(self, window: EncodedWindow, options: DecodingOptions) -> Iterator[Found]:
        self.options.append(options)
        yield from self._windows.pop(0)


def found(start_s: float, end_s: float, text: str, words: list[Found] | None = None) -> Found:
    return Found(start=start_s, end=end_s, text=text, words=words, **vars(DECODED))


def found_word(start_s: float, end_s: float, text: str) -> Found:
    return Found(start=start_s, end=end_s, word=text)


def make_window(index: int = 0, *spans_s: tuple[int, int]) -> Window:
    spans = tuple(
        Span(start * SAMPLE_RATE_HZ, end * SAMPLE_RATE_HZ) for start, end in spans_s or [(100, 110)]
    )
    samples = np.zeros(sum(span.length for span in spans), np.float32)
    return Window(index=index, spans=spans, samples=samples, end_sample=spans[-1].end)


def make_engine(model: WhisperStandIn) -> WhisperEngine:
    engine = WhisperEngine(WorkerSettings(whisper_beam_size=3))
    engine._model = model  # type: ignore[assignment]
    return engine


def decode(
    model: WhisperStandIn,
    *windows: Window,
    request: TranscriptionRequest | None = None,
    previous_language: str | None = None,
) -> list[tuple[Segment, ...]]:
    transcripts = decode_windows(
        make_engine(model),
        windows or [make_window()],
        request or TranscriptionRequest(),
        Listener(),
        previous_language=previous_language,
    )
    return [transcript.segments for transcript in transcripts]


def test_segments_have_the_times_of_the_upload() -> None:
    model = WhisperStandIn([found(0.0, 2.5, " Good morning."), found(2.5, 4.0, " How are you?")])

    ((first, second),) = decode(model)

    decoding = SegmentDecoding((7, 8), 0.2, -0.31, 0.05, window_start_s=100.0)
    assert first == Segment(100.0, 102.5, "Good morning.", "en", (), decoding)
    assert second == Segment(102.5, 104.0, "How are you?", "en", (), decoding)


def test_numbers_of_a_segment_become_finite_python_numbers() -> None:
    odd = found(0.0, 1.0, " a")
    odd.avg_logprob, odd.no_speech_prob, odd.temperature = np.float32(-np.inf), np.float32(0.25), None

    ((segment,),) = decode(WhisperStandIn([odd]))

    assert msgspec.json.decode(msgspec.json.encode(segment), type=Segment) == segment
    assert segment.decoding == SegmentDecoding((7, 8), 0.0, 0.0, 0.25, window_start_s=100.0)


def test_segments_do_not_overlap_even_if_whispers_do() -> None:
    model = WhisperStandIn([found(0.0, 3.0, " One"), found(2.0, 2.5, " two"), found(2.2, 30.0, " three")])

    (segments,) = decode(model)

    times_s = [(segment.start_s, segment.end_s) for segment in segments]
    assert times_s == [(100.0, 103.0), (103.0, 103.0), (103.0, 110.0)]


def test_words_are_placed_one_by_one_and_bound_their_segment() -> None:
    words = [found_word(3.2, 3.9, " Left"), found_word(3.9, 4.5, " right."), found_word(4.4, 5.0, " Up")]
    model = WhisperStandIn([found(3.0, 6.0, " Left right. Up", words)])
    window = make_window(0, (10, 14), (74, 80))

    ((segment,),) = decode(
        model, window, request=TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)
    )

    assert segment.words == (Word(13.2, 13.9, "Left"), Word(74.0, 74.5, "right."), Word(74.5, 75.0, "Up"))
    assert (segment.start_s, segment.end_s) == (13.2, 75.0)
    assert model.options[0].word_timestamps


@pytest.mark.parametrize(
    ("language", "texts"), [("en", [" I say", " yes."]), ("zh", ["我說", "是"])], ids=["spaced", "unspaced"]
)
def test_the_partials_of_a_window_are_its_text(language: str, texts: list[str]) -> None:
    model = WhisperStandIn([found(number, number + 1, text) for number, text in enumerate(texts)])
    listener = Listener()

    (transcript,) = decode_windows(
        make_engine(model), [make_window(7)], TranscriptionRequest(language_hint=language), listener
    )

    assert listener.texts == {7: join_segments(transcript.segments)}


def test_a_window_without_speech_has_no_segments() -> None:
    assert decode(WhisperStandIn([])) == [()]


def test_a_hint_is_taken_without_detection() -> None:
    model = WhisperStandIn([found(0, 1, " Guten Tag")])

    ((segment,),) = decode(model, request=TranscriptionRequest(language_hint="de"))

    assert segment.language == "de"
    assert model.options[0].language == "de"
    assert model.detections == 0


def test_javanese_has_another_code_in_whisper() -> None:
    model = WhisperStandIn([found(0, 1, " a")], [found(0, 1, " b")], detected=("jw", 0.9))

    ((hinted,),) = decode(model, request=TranscriptionRequest(language_hint="jv"))
    ((detected,),) = decode(model)

    assert [options.language for options in model.options] == ["jw", "jw"]
    assert (hinted.language, detected.language) == ("jv", "jv")


@pytest.mark.parametrize(
    ("probability", "previous", "expected"),
    [(0.9, "fr", "cy"), (0.3, "fr", "fr"), (0.3, None, "cy")],
    ids=["sure", "unsure", "unsure and nothing before"],
)
def test_a_language_in_doubt_is_that_of_the_speech_before(
    probability: float, previous: str | None, expected: str
) -> None:
    model = WhisperStandIn([found(0, 1, " a")], detected=("cy", probability))

    ((segment,),) = decode(model, previous_language=previous)

    assert segment.language == expected


def test_the_language_of_a_window_counts_for_the_next() -> None:
    model = WhisperStandIn([found(0, 1, " a")], [], [found(0, 1, " b")], detected=("cy", 0.3))

    first, empty, last = decode(model, *(make_window(n) for n in range(3)), previous_language="fr")

    assert empty == ()
    assert [segment.language for segment in first + last] == ["fr", "fr"]


def test_windows_of_a_batch_are_published_in_order() -> None:
    model = WhisperStandIn([found(0, 1, " one")], [], [found(0, 1, " three")])
    listener = Listener()

    transcripts = list(
        decode_windows(
            make_engine(model),
            [make_window(n) for n in range(3)],
            TranscriptionRequest(language_hint="en"),
            listener,
        )
    )

    assert list(listener.texts.items()) == [(0, "one"), (2, "three")]
    assert [join_segments(transcript.segments) for transcript in transcripts] == ["one", "", "three"]


class PatientModel(WhisperStandIn):
    """A model that decodes its second window only when the first is taken."""

    def __init__(self) -> None:
        super().__init__([found(0, 1, " one")], [found(0, 1, " two")])
        self.is_first_taken = threading.Event()

    def generate(self, window: EncodedWindow, options: DecodingOptions) -> Iterator[Found]:
        if self.options:
            assert self.is_first_taken.wait(30)
        yield from super().generate(window, options)


def test_a_window_of_a_batch_is_handed_over_before_later_ones_are_done() -> None:
    model = PatientModel()
    windows = [make_window(number) for number in range(2)]
    request = TranscriptionRequest(language_hint="en")

    listener = Listener()
    outcomes = make_engine(model).decode_rows([Row(window, request, listener) for window in windows])

    _, outcome = next(outcomes)
    assert join_segments(open_outcome(outcome).segments) == "one"
    model.is_first_taken.set()
    _, outcome = next(outcomes)
    assert join_segments(open_outcome(outcome).segments) == "two"


def test_the_context_is_the_prompt_of_every_window() -> None:
    model = WhisperStandIn([], [])

    decode(model, make_window(0), make_window(1), request=TranscriptionRequest(context="Fisichella"))

    assert [options.prompt for options in model.options] == ["Fisichella", "Fisichella"]
    assert {options.beam_size for options in model.options} == {3}


def test_a_stop_takes_effect_between_two_segments() -> None:
    model = WhisperStandIn([found(0, 1, " one"), found(1, 2, " two"), found(2, 3, " three")])
    listener = Listener(max_partials=1)

    with pytest.raises(DecodingStopped):
        list(decode_windows(make_engine(model), [make_window()], TranscriptionRequest(), listener))

    assert listener.texts == {0: "one"}


def test_a_stop_takes_effect_before_a_window() -> None:
    model = WhisperStandIn([])

    with pytest.raises(DecodingStopped):
        list(
            decode_windows(
                make_engine(model), [make_window()], TranscriptionRequest(), Listener(max_partials=0)
            )
        )

    assert model.options == []


def test_rows_of_several_jobs_keep_their_own_languages_and_order() -> None:
    model = WhisperStandIn([found(0, 1, " eins")], [found(0, 1, " zwei")], [found(0, 1, " one")])
    model.detected = ("fr", 0.2)  # a guess
    german, english = Listener(), Listener()
    rows = [
        Row(make_window(0), TranscriptionRequest(), german, "de"),
        Row(make_window(1), TranscriptionRequest(), german, "de"),
        Row(make_window(0), TranscriptionRequest(), english, "en"),
    ]

    ends = list(make_engine(model).decode_rows(rows))

    texts = {id(row): join_segments(open_outcome(outcome).segments) for row, outcome in ends}
    assert [texts[id(row)] for row in rows] == ["eins", "zwei", "one"]
    assert (german.texts, english.texts) == ({0: "eins", 1: "zwei"}, {0: "one"})
    assert [options.language for options in model.options] == ["de", "de", "en"]


def test_a_stopped_row_does_not_stop_the_rows_of_others() -> None:
    model = WhisperStandIn([found(0, 1, " one")])
    stopped, other = Listener(max_partials=0), Listener()
    rows = [Row(make_window(), TranscriptionRequest(), listener) for listener in (stopped, other)]
    first, second = (outcome for _, outcome in make_engine(model).decode_rows(rows))
    assert first == RowStopped()
    assert join_segments(open_outcome(second).segments) == "one"


def test_only_the_languages_that_the_client_names_are_chosen_from() -> None:
    model = WhisperStandIn([found(0, 1, " Sugeng")])

    ((segment,),) = decode(model, make_window(), request=TranscriptionRequest(languages=("id", "jv")))

    assert (model.options[0].language, segment.language, model.detections) == ("jw", "jv", 0)
