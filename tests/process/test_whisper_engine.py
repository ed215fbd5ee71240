"""The CPU engine with its real weights, on speech of a synthetic voice."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, join_segments
from tests.support.media_files import CLIPS
from tests.support.rows import decode_windows
from tests.word_errors import count_errors
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.catalog import WHISPER_LANGUAGES
from worker.engines.protocol import DecodingStopped, ModelUnavailable, Row, Samples
from worker.engines.whisper.engine import _WHISPER_CODES, WhisperEngine
from worker.engines.whisper.model import FALLBACK_TEMPERATURES
from worker.engines.whisper.passes import repeats_itself
from worker.engines.whisper.weights import WEIGHT_FILES, join_installed_parts
from worker.settings import WorkerSettings

SENTENCE = "We walked along the river until the sun went down behind the hills."


class Listener:
    """A listener that collects partials, and asks for a stop from the start if wanted."""

    def __init__(self, *, is_impatient: bool = False) -> None:
        self.text = ""
        self._is_impatient = is_impatient

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        self.text += delta

    def is_stopped(self) -> bool:
        return self._is_impatient


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the packages were joined into."""
    folder = join_installed_parts(tmp_path_factory.mktemp("data") / "models", WEIGHT_FILES)
    if folder is None:
        pytest.skip("the packages with the weights of Whisper base are not installed")
    return folder


@pytest.fixture(scope="module")
def engine(weights: Path) -> WhisperEngine:
    engine = WhisperEngine(WorkerSettings(data_dir=weights.parents[1]))
    phases: list[str] = []
    assert engine.load(phases.append) == "cpu"
    assert phases == ["finding weights", "loading weights"]
    return engine


def read_clip(name: str) -> Samples:
    samples: Samples = soundfile.read(CLIPS / name, dtype="float32")[0]
    return samples


def transcribe(
    engine: WhisperEngine,
    samples: Samples,
    request: TranscriptionRequest,
    listener: Listener | None = None,
    *,
    window_s: float = 30.0,
) -> list[Segment]:
    windows = cut_windows([samples], SileroVad().open_stream(), config=WindowConfig(window_s=window_s))
    return [
        segment
        for window in windows
        for transcript in decode_windows(engine, [window], request, listener or Listener())
        for segment in transcript.segments
    ]


def errors(found: Iterable[Segment], expected: str) -> int:
    return count_errors(expected, join_segments(found), language="en").errors


def test_a_sentence_and_its_language_are_recognised(engine: WhisperEngine) -> None:
    listener = Listener()

    segments = transcribe(engine, read_clip("speech.flac"), TranscriptionRequest(), listener)

    assert errors(segments, SENTENCE) == 0
    assert {segment.language for segment in segments} == {"en"}
    assert listener.text == join_segments(segments)


def test_words_have_times_in_order_within_their_segment(engine: WhisperEngine) -> None:
    samples = read_clip("long.ogg")

    segments = transcribe(
        engine, samples, TranscriptionRequest(language_hint="en", word_timestamps=WordTimestamps.REQUIRED)
    )

    words = [word for segment in segments for word in segment.words]
    times_s = [moment_s for word in words for moment_s in (word.start_s, word.end_s)]
    assert times_s == sorted(times_s)
    assert times_s[0] >= 0
    assert times_s[-1] <= len(samples) / SAMPLE_RATE_HZ
    for segment in segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        assert (segment.start_s, segment.end_s) == (segment.words[0].start_s, segment.words[-1].end_s)


def test_times_are_those_of_the_upload_though_silence_is_left_out(engine: WhisperEngine) -> None:
    speech = read_clip("speech.flac")
    silence = np.zeros(20 * SAMPLE_RATE_HZ, np.float32)

    segments = transcribe(
        engine, np.concatenate((speech, silence, speech)), TranscriptionRequest(language_hint="en")
    )

    assert errors(segments, f"{SENTENCE} {SENTENCE}") <= 1
    pauses_s = [after.start_s - before.end_s for before, after in pairwise(segments)]
    assert max(pauses_s) > 18


def test_silence_has_no_text(engine: WhisperEngine) -> None:
    assert transcribe(engine, read_clip("silence.flac"), TranscriptionRequest()) == []


def test_each_segment_has_the_numbers_of_its_decoding(engine: WhisperEngine) -> None:
    request = TranscriptionRequest(language_hint="en")
    segments = transcribe(engine, read_clip("long.ogg"), request, window_s=8)

    told = [segment.decoding for segment in segments if segment.decoding]
    assert len(told) == len(segments) > 1
    for decoding in told:
        assert decoding.tokens
        assert -1 < decoding.avg_logprob < 0
        assert 0 <= decoding.no_speech_prob < 1
        assert decoding.temperature == 0.0
    starts_s = [decoding.window_start_s for decoding in told]
    assert starts_s == sorted(starts_s)
    assert len(set(starts_s)) > 1
    assert all(start_s <= segment.start_s for start_s, segment in zip(starts_s, segments, strict=True))


def test_a_stop_ends_the_decoding(engine: WhisperEngine) -> None:
    with pytest.raises(DecodingStopped):
        transcribe(engine, read_clip("speech.flac"), TranscriptionRequest(), Listener(is_impatient=True))


@pytest.mark.parametrize("hint", [None, "en"])
def test_a_draft_comes_before_the_text_and_keeps_nothing_of_itself(
    engine: WhisperEngine, hint: str | None
) -> None:
    drafts: list[tuple[int, str, str, str | None]] = []

    class Reader(Listener):
        def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
            drafts.append((window, delta, tail, language))

    (window,) = cut_windows([read_clip("speech.flac")], SileroVad().open_stream(), config=WindowConfig())
    engine.draft_row(Row(window, TranscriptionRequest(language_hint=hint), Reader()))

    ((index, delta, tail, language),) = drafts
    assert (index, delta, language) == (0, "", "en")
    assert count_errors(SENTENCE, tail, language="en").errors <= 2


def test_a_draft_that_repeats_itself_is_not_published() -> None:
    assert repeats_itself("and on " * 40)
    assert not repeats_itself(SENTENCE)
    assert not repeats_itself("")


def test_a_stop_takes_effect_before_a_draft(engine: WhisperEngine) -> None:
    (window,) = cut_windows([read_clip("speech.flac")], SileroVad().open_stream(), config=WindowConfig())
    with pytest.raises(DecodingStopped):
        engine.draft_row(Row(window, TranscriptionRequest(), Listener(is_impatient=True)))


def test_the_silence_after_the_last_word_is_not_decoded_again(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = engine._model._model
    passes: list[int] = []
    encode = model.encode

    def spy(features: Any) -> Any:
        passes.append(features.shape[-1])
        return encode(features)

    monkeypatch.setattr(model, "encode", spy)
    segments = transcribe(engine, read_clip("long.ogg"), TranscriptionRequest(language_hint="en"))

    assert len(passes) == 1
    assert len(segments) > 1


def test_a_sentence_after_the_last_timestamp_is_decoded_too(engine: WhisperEngine) -> None:
    # The first pass ends with a timestamp before the last pause, though two seconds of speech follow it.
    speech = np.concatenate((read_clip("speech.flac"), read_clip("long.ogg")))[: 11 * SAMPLE_RATE_HZ]

    segments = transcribe(engine, speech, TranscriptionRequest(language_hint="en"))

    report = "Please send the report to the office before the end of the week."
    assert errors(segments, f"{SENTENCE} {report} The old bridge was closed because") <= 1
    assert "bridge was closed because" in segments[-1].text
    assert segments[-1].start_s > 7.5


def test_windows_side_by_side_have_the_text_that_they_have_alone(engine: WhisperEngine) -> None:
    config = WindowConfig(window_s=8.0)
    windows = list(cut_windows([read_clip("long.ogg")], SileroVad().open_stream(), config=config))
    request = TranscriptionRequest(language_hint="en")
    assert 1 < len(windows) <= engine.batch_windows

    together = decode_windows(engine, windows, request, Listener())

    alone = [decode_windows(engine, [window], request, Listener())[0] for window in windows]
    assert [transcript.segments for transcript in together] == [transcript.segments for transcript in alone]


def test_a_context_does_no_harm(engine: WhisperEngine) -> None:
    request = TranscriptionRequest(language_hint="en", context="A walk by the river.")

    assert errors(transcribe(engine, read_clip("speech.flac"), request), SENTENCE) == 0


def test_a_temperature_is_taken_instead_of_those_that_are_tried_in_turn(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = engine._model._model
    tried: list[tuple[float, ...]] = []
    generate = model.generate_with_fallback

    def spy(encoding: Any, prompt: Any, tokenizer: Any, options: Any) -> Any:
        tried.append(tuple(options.temperatures))
        return generate(encoding, prompt, tokenizer, options)

    monkeypatch.setattr(model, "generate_with_fallback", spy)
    speech = read_clip("speech.flac")
    texts = [
        join_segments(
            transcribe(engine, speech, TranscriptionRequest(language_hint="en", temperature=temperature))
        )
        for temperature in (None, 0.0, 1.0, 1.0)
    ]

    assert tried == [FALLBACK_TEMPERATURES, (0.0,), (1.0,), (1.0,)]
    assert texts[0] == texts[1]
    assert all(texts)


def test_the_model_knows_every_language_on_offer(engine: WhisperEngine) -> None:
    tokenizer = engine._model._model.hf_tokenizer

    for language in WHISPER_LANGUAGES:
        code = _WHISPER_CODES.get(language, language)
        assert tokenizer.token_to_id(f"<|{code}|>") is not None, language


def test_a_folder_without_a_model_is_reported(tmp_path: Path) -> None:
    engine = WhisperEngine(WorkerSettings(whisper_model=str(tmp_path)))

    with pytest.raises(ModelUnavailable, match=r"cannot be loaded.*WHISPER_MODEL"):
        engine.load(lambda phase: None)


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "config.json"])
def test_a_damaged_model_is_reported(weights: Path, tmp_path: Path, name: str) -> None:
    for file in weights.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes((weights / name).read_bytes()[:1_000])
    engine = WhisperEngine(WorkerSettings(whisper_model=str(tmp_path)))

    with pytest.raises(ModelUnavailable, match=r"cannot be loaded.*WHISPER_MODEL"):
        engine.load(lambda phase: None)


@pytest.mark.parametrize(
    ("languages", "spoken"), [(("de", "nl", "en"), {"en"}), (("de", "fr"), {"de", "fr"})]
)
def test_detection_is_limited_to_the_languages_that_the_client_names(
    engine: WhisperEngine, languages: tuple[str, ...], spoken: set[str]
) -> None:
    found = transcribe(engine, read_clip("speech.wav"), TranscriptionRequest(languages=languages))

    assert found
    assert {segment.language for segment in found} <= spoken
