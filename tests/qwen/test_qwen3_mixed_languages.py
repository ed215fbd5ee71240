"""Windows with two languages are transcribed as spoken if LANGUAGE_CHANGES searches for the change."""

import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from shared.transcripts import Segment, WarningCode, join_segments, join_texts
from tests.support.qwen3_stand_in import Listener
from tests.support.rows import decode_windows
from tests.support.tiny_qwen3 import EXACT, SAMPLES, TINY
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import Samples, Span, Window
from worker.engines.qwen3.engine import Qwen3Engine
from worker.settings import WorkerSettings

DETECT = TranscriptionRequest()
MIN_LOUD = 0.02
PAIRS = [
    ("en_hello", "de_umlaut"),
    ("de_umlaut", "en_hello"),
    ("en_hello", "zh_tea"),
    ("zh_tea", "en_hello"),
    ("de_umlaut", "zh_digits4"),
    ("zh_digits4", "en_digits3"),
]


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    """The default, LANGUAGE_CHANGES=pauses."""
    loaded = Qwen3Engine(WorkerSettings(model_id=str(TINY), device="cpu", batch_windows=4))
    loaded.load(lambda _phase: None)
    return loaded


@pytest.fixture(scope="module")
def searching_engine(engine: Qwen3Engine) -> Qwen3Engine:
    """The same model with LANGUAGE_CHANGES=always."""
    return share_model(engine, LanguageChanges.ALWAYS)


@pytest.fixture(scope="module")
def blind_engine(engine: Qwen3Engine) -> Qwen3Engine:
    """The same model with LANGUAGE_CHANGES=off."""
    return share_model(engine, LanguageChanges.OFF)


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


def share_model(engine: Qwen3Engine, changes: LanguageChanges) -> Qwen3Engine:
    other = Qwen3Engine(WorkerSettings(device="cpu", batch_windows=4, language_changes=changes))
    other._model = engine._model
    return other


def join(*names: str, silence_s: float) -> Samples:
    """The samples of these names with silence between them."""
    silence = np.zeros(int(silence_s * SAMPLE_RATE_HZ), np.float32)
    return np.concatenate([part for name in names for part in (SAMPLES[name].read(), silence)][:-1])


def cut(vad: SileroVad, audio: Samples, *, window_s: float = 8.0) -> list[Window]:
    return list(cut_windows([audio], vad.open_stream(), config=WindowConfig(window_s=window_s)))


def trim(name: str) -> Samples:
    """The samples of this name without the silence around their speech."""
    samples = SAMPLES[name].read()
    loud = np.flatnonzero(np.abs(samples) > MIN_LOUD)
    return samples[loud[0] : loud[-1] + 1]


def make_unbroken(*clips: Samples) -> Window:
    """A window of these samples, in which no pauses were found."""
    samples = np.concatenate(clips)
    return Window(0, (Span(0, len(samples)),), samples, len(samples))


def decode(
    engine: Qwen3Engine, windows: list[Window], request: TranscriptionRequest = DETECT
) -> tuple[list[Segment], Listener]:
    listener = Listener()
    transcripts = decode_windows(engine, windows, request, listener)
    return [segment for transcript in transcripts for segment in transcript.segments], listener


@pytest.mark.parametrize("silence_s", [0.6, 0.8, 1.5])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_languages_in_one_window_are_both_transcribed_exactly(
    engine: Qwen3Engine, vad: SileroVad, first: str, second: str, silence_s: float
) -> None:
    (window,) = cut(vad, join(first, second, silence_s=silence_s))

    segments, listener = decode(engine, [window])

    expected = [(SAMPLES[name].text, SAMPLES[name].code) for name in (first, second)]
    assert [(segment.text, segment.language) for segment in segments] == expected
    change_s = len(SAMPLES[first].read()) / SAMPLE_RATE_HZ + silence_s / 2
    assert segments[0].end_s <= segments[1].start_s
    assert segments[0].end_s - 0.5 <= change_s <= segments[1].start_s + 0.5
    assert listener.texts == {0: join_texts(expected)}


def test_languages_change_in_a_batch_of_windows(engine: Qwen3Engine, vad: SileroVad) -> None:
    names = ["en_hello", "de_umlaut", "zh_tea", "en_hello", "zh_digits4", "de_umlaut", "en_hello"]
    windows = cut(vad, join(*names, silence_s=0.8))

    segments, listener = decode(engine, windows)

    assert 2 <= len(windows) <= 4
    assert [segment.language for segment in segments] == [SAMPLES[name].code for name in names]
    assert join_segments(segments) == join_texts((SAMPLES[name].text, SAMPLES[name].code) for name in names)
    assert sorted(listener.texts) == [window.index for window in windows]


@pytest.mark.parametrize("silence_s", [0, 0.1])
@pytest.mark.parametrize(
    ("first", "second"), [("de_umlaut", "zh_tea"), ("en_fox", "de_digits5"), ("zh_tea", "en_fox")]
)
def test_a_change_without_a_pause_is_cut_and_warned_of_in_mode_always(
    searching_engine: Qwen3Engine, first: str, second: str, silence_s: float
) -> None:
    window = make_unbroken(trim(first), np.zeros(int(silence_s * SAMPLE_RATE_HZ), np.float32), trim(second))

    (transcript,) = decode_windows(searching_engine, [window], DETECT, Listener())

    languages = [segment.language for segment in transcript.segments]
    assert languages == [SAMPLES[first].code, SAMPLES[second].code]
    assert [warning.code for warning in transcript.warnings] == [WarningCode.LANGUAGE_CHANGE]


@pytest.mark.parametrize(
    "names",
    [
        *((name,) for name in EXACT),
        ("en_hello", "en_fox"),
        ("en_fox", "en_repeat"),
        ("de_umlaut", "de_digits5"),
        ("zh_tea", "zh_digits4"),
    ],
)
def test_speech_of_one_language_without_a_pause_is_not_cut_in_mode_always(
    searching_engine: Qwen3Engine, blind_engine: Qwen3Engine, names: tuple[str, ...]
) -> None:
    window = make_unbroken(*(SAMPLES[name].read() for name in names))

    found, blind = (
        decode_windows(side, [window], DETECT, Listener())[0] for side in (searching_engine, blind_engine)
    )

    assert found == blind


def test_a_change_without_a_pause_is_neither_cut_nor_warned_of_by_default(
    engine: Qwen3Engine, blind_engine: Qwen3Engine
) -> None:
    window = make_unbroken(trim("de_umlaut"), trim("zh_tea"))

    found, blind = (decode_windows(side, [window], DETECT, Listener())[0] for side in (engine, blind_engine))

    assert found == blind
    assert found.warnings == ()


def test_a_change_at_a_pause_is_cut_in_mode_always_as_well(
    searching_engine: Qwen3Engine, vad: SileroVad
) -> None:
    windows = cut(vad, join("en_hello", "de_umlaut", silence_s=0.8))

    segments, _ = decode(searching_engine, windows)

    assert [segment.text for segment in segments] == [SAMPLES["en_hello"].text, SAMPLES["de_umlaut"].text]


@pytest.mark.parametrize("names", [("en_hello", "en_digits3"), ("de_umlaut", "de_umlaut")])
def test_a_window_in_one_language_is_not_cut(
    engine: Qwen3Engine, blind_engine: Qwen3Engine, vad: SileroVad, names: tuple[str, ...]
) -> None:
    windows = cut(vad, join(*names, silence_s=0.8))
    assert [len(window.pauses) for window in windows] == [1]

    assert decode(engine, windows)[0] == decode(blind_engine, windows)[0]


def test_without_the_search_a_window_comes_in_one_language(blind_engine: Qwen3Engine, vad: SileroVad) -> None:
    windows = cut(vad, join("zh_digits4", "en_hello", silence_s=0.8))

    (segment,), _ = decode(blind_engine, windows)

    assert SAMPLES["zh_digits4"].text not in segment.text


def test_with_the_language_given_nothing_is_cut(
    engine: Qwen3Engine, blind_engine: Qwen3Engine, vad: SileroVad
) -> None:
    windows = cut(vad, join("en_hello", "de_umlaut", silence_s=0.8))
    request = TranscriptionRequest(language_hint="de")

    segments, listener = decode(engine, windows, request)
    blind_segments, blind_listener = decode(blind_engine, windows, request)

    assert segments == blind_segments
    assert listener.stop_checks == blind_listener.stop_checks
    assert {segment.language for segment in segments} == {"de"}
