"""Word timestamps by Qwen's own aligner, on a tiny one: right about their order, and roughly about time."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import Checkpoint, FailureCode, TranscriptionRequest, WordTimestamps
from shared.languages import language_name
from shared.transcripts import Segment, Word, join_segments
from tests.support.decoder_driver import DecoderDriver
from tests.support.rows import decode_windows
from tests.support.tiny_qwen3 import SAMPLES, SPOKEN, TINY, WINDOW_S
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.catalog import DEFAULT_ALIGNER_ID, QWEN3_WORD_LANGUAGES
from worker.engines.protocol import DecodingStopped, ModelUnavailable, Samples, Span, Window, WordsUnsupported
from worker.engines.qwen3.aligner import load_aligner
from worker.engines.qwen3.device import Placement
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.token_generator import OutOfDeviceMemory
from worker.engines.qwen3.words import find_words
from worker.model.messages import DecodeJob, JobFailed
from worker.settings import WorkerSettings

ALIGNER = TINY / "aligner"
CPU = Placement("cpu", torch.float32)

REQUIRED = TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)
WELCOME = TranscriptionRequest(word_timestamps=WordTimestamps.WELCOME)

TRUE_WORDS: dict[str, list[tuple[str, float, float]]] = {
    name.removesuffix(".wav"): words
    for name, words in json.loads((TINY / "samples" / "words.json").read_text()).items()
}


class Listener:
    """A listener that collects partials, and asks for a stop once a text has this many characters."""

    def __init__(self, *, longest: int = 1_000) -> None:
        self.deltas: dict[int, str] = {}
        self._longest = longest

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        self.deltas[window] = self.deltas.get(window, "") + delta

    def is_stopped(self) -> bool:
        return sum(map(len, self.deltas.values())) >= self._longest


def go_on() -> bool:
    return False


def make_engine(aligner: Path | str = ALIGNER) -> tuple[Qwen3Engine, list[str]]:
    """The engine for the tiny model, loaded, and the phases that it reports."""
    settings = WorkerSettings(model_id=str(TINY), aligner_id=str(aligner), device="cpu", batch_windows=8)
    engine = Qwen3Engine(settings)
    phases: list[str] = []
    engine.load(phases.append)
    return engine, phases


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    return make_engine()[0]


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


def cut(vad: SileroVad, audio: Samples) -> list[Window]:
    """The windows of `audio`, as a job has them."""
    return list(cut_windows([audio], vad.open_stream(), config=WindowConfig(window_s=WINDOW_S)))


def take_whole(audio: Samples) -> Window:
    """All of `audio` as one window."""
    return Window(index=0, spans=(Span(0, len(audio)),), samples=audio, end_sample=len(audio))


def decode(
    engine: Qwen3Engine, windows: Iterable[Window], request: TranscriptionRequest = REQUIRED
) -> list[Segment]:
    """The segments of the windows, decoded one by one."""
    return [
        segment
        for window in windows
        for transcript in decode_windows(engine, [window], request, Listener())
        for segment in transcript.segments
    ]


def words_of(segments: Iterable[Segment]) -> list[Word]:
    return [word for segment in segments for word in segment.words]


def overlaps(word: Word, start_s: float, end_s: float, *, slack_s: float) -> bool:
    return word.start_s < end_s + slack_s and start_s - slack_s < word.end_s


def assert_in_order(words: list[Word]) -> None:
    moments = [moment for word in words for moment in (word.start_s, word.end_s)]
    assert moments == sorted(moments)
    assert all(word.end_s - word.start_s >= 0.01 for word in words)


@pytest.mark.parametrize("name", SPOKEN)
def test_words_are_those_of_the_text_in_order_and_near_their_times(
    engine: Qwen3Engine, vad: SileroVad, name: str
) -> None:
    windows = cut(vad, SAMPLES[name].read())

    segments = decode(engine, windows)

    words, true_words = words_of(segments), TRUE_WORDS.get(name, [])
    assert join_segments(segments) == SAMPLES[name].text
    spoken = "".join(character for character in SAMPLES[name].text if character.isalnum())
    assert "".join(word.text for word in words) == spoken
    assert_in_order(words)
    if true_words:  # not known of every sample
        near = [overlaps(word, *true[1:], slack_s=0.2) for word, true in zip(words, true_words, strict=True)]
        assert sum(near) >= 0.7 * len(near)
    bounds_s = [(window.spans[0].start, window.spans[-1].end) for window in windows]
    for segment in segments:
        assert (segment.start_s, segment.end_s) == (segment.words[0].start_s, segment.words[-1].end_s)
        assert any(
            start / SAMPLE_RATE_HZ - 0.001 <= segment.start_s
            and segment.end_s <= end / SAMPLE_RATE_HZ + 0.001
            for start, end in bounds_s
        )


def test_times_are_those_of_the_upload_in_long_audio_with_silence(
    engine: Qwen3Engine, vad: SileroVad
) -> None:
    names = ["en_fox", "zh_tea", "de_umlaut", "en_fox", "en_hello"]
    pauses = [np.zeros(round(pause_s * SAMPLE_RATE_HZ), np.float32) for pause_s in (3.0, 40.0, 2.5, 7.3, 0.0)]
    audios = [
        np.concatenate((SAMPLES[name].read(), pause)) for name, pause in zip(names, pauses, strict=True)
    ]
    offsets = np.cumsum([0, *map(len, audios)]) / SAMPLE_RATE_HZ

    segments = decode(engine, cut(vad, np.concatenate(audios)))

    assert [segment.text for segment in segments] == [SAMPLES[name].text for name in names]
    assert_in_order(words_of(segments))
    for segment, name, offset_s in zip(segments, names, offsets[:-1], strict=True):
        near = [
            overlaps(word, start_s + offset_s, end_s + offset_s, slack_s=0.2)
            for word, (_, start_s, end_s) in zip(segment.words, TRUE_WORDS[name], strict=True)
        ]
        assert sum(near) >= 0.7 * len(near), name


def test_segments_are_sentences_and_the_text_is_as_without_words(engine: Qwen3Engine, vad: SileroVad) -> None:
    names = ["en_hello", "de_umlaut"]
    gap = np.zeros(SAMPLE_RATE_HZ // 5, np.float32)
    audio = np.concatenate([part for name in names for part in (SAMPLES[name].read(), gap)])
    windows = cut(vad, audio)

    timed = decode(engine, windows)

    assert join_segments(timed) == join_segments(decode(engine, windows, TranscriptionRequest()))
    assert len(timed) >= len(windows)
    assert all(segment.text[-1] in ".?" for segment in timed)


def test_the_deltas_are_the_text_with_words_as_well(engine: Qwen3Engine) -> None:
    listener = Listener()

    (transcript,) = decode_windows(
        engine, [take_whole(SAMPLES["en_two"].read()[: 8 * SAMPLE_RATE_HZ])], REQUIRED, listener
    )

    assert len(transcript.segments) > 1
    assert listener.deltas == {0: join_segments(transcript.segments)}


def test_the_aligner_is_loaded_once_and_only_when_words_are_wanted() -> None:
    engine, phases = make_engine()
    speech, silence = take_whole(SAMPLES["en_hello"].read()), take_whole(SAMPLES["silence"].read())

    decode(engine, [speech], TranscriptionRequest())
    decode(engine, [silence])
    assert "loading aligner" not in phases

    decode(engine, [speech], WELCOME)
    assert words_of(decode(engine, [speech]))
    assert phases.count("loading aligner") == 1
    assert phases[-2:] == ["loading aligner", "loaded"]


def test_batches_are_chosen_again_when_the_aligner_has_taken_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitting = [9, 4]
    monkeypatch.setattr("worker.engines.qwen3.device.choose_batch_windows", lambda *_: fitting.pop(0))
    engine = Qwen3Engine(WorkerSettings(model_id=str(TINY), device="cpu"))
    engine.load(lambda _phase: None)
    assert engine.batch_windows == 9

    decode(engine, [take_whole(SAMPLES["en_hello"].read())])

    assert engine.batch_windows == 4


def test_a_language_without_word_timestamps_is_refused_where_they_are_required(engine: Qwen3Engine) -> None:
    # The miniature cannot speak Finnish: told to, it writes English words under that name.
    window = take_whole(SAMPLES["en_hello"].read())

    with pytest.raises(WordsUnsupported, match="Finnish"):
        decode(engine, [window], TranscriptionRequest("fi", WordTimestamps.REQUIRED))
    (segment,) = decode(engine, [window], TranscriptionRequest("fi", WordTimestamps.WELCOME))
    assert (segment.language, segment.words) == ("fi", ())


def test_a_job_in_such_a_language_fails_with_a_code_of_its_own(engine: Qwen3Engine) -> None:
    request = TranscriptionRequest("fi", WordTimestamps.REQUIRED)
    order = DecodeJob(1, request, Checkpoint(), is_early_text_wanted=False)
    driver = DecoderDriver(engine, window_s=WINDOW_S)
    driver.open(order, [SAMPLES["en_hello"].read()])

    report = driver.decode_all()[-1]

    assert isinstance(report, JobFailed)
    assert report.code is FailureCode.WORDS_UNSUPPORTED
    assert "Finnish" in report.message


def test_a_stop_takes_effect_between_text_and_words(engine: Qwen3Engine) -> None:
    listener = Listener(longest=len(SAMPLES["en_hello"].text))

    with pytest.raises(DecodingStopped):
        decode_windows(engine, [take_whole(SAMPLES["en_hello"].read())], REQUIRED, listener)


def test_very_short_audio_is_not_an_error() -> None:
    units = load_aligner(str(ALIGNER), CPU).align(np.zeros(150, np.float32), "Hello, you.", "en", go_on)

    assert [unit.text for unit in units] == ["Hello", "you"]


@pytest.mark.parametrize("folder", [TINY / "checkpoint", "missing", "config"])
def test_another_model_as_aligner_is_refused_with_the_remedy(folder: Path | str, tmp_path: Path) -> None:
    if folder == "config":
        (tmp_path / "config.json").write_text('{"model_type": "qwen3_asr", "timestamp_token_id": 1}')
        folder = tmp_path
    elif folder == "missing":
        folder = tmp_path / "missing"

    with pytest.raises(
        ModelUnavailable, match=r"ALIGNER_ID.*Qwen/Qwen3-ForcedAligner-0\.6B.*no word timestamps"
    ):
        load_aligner(str(folder), CPU)


@pytest.mark.parametrize("files", ["missing", "cut"])
def test_without_weights_only_required_words_fail(tmp_path: Path, files: str) -> None:
    folder = tmp_path / "aligner"
    if files == "cut":
        shutil.copytree(ALIGNER, folder)
        os.truncate(folder / "model.safetensors", 1_000_000)
    engine, _ = make_engine(folder)
    window = take_whole(SAMPLES["en_hello"].read())

    (segment,) = decode(engine, [window], WELCOME)
    assert (segment.text, segment.words) == (SAMPLES["en_hello"].text, ())
    with pytest.raises(ModelUnavailable, match="ALIGNER_ID"):
        decode(engine, [window])


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_too_little_device_memory_is_reported_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, kind: type[RuntimeError]
) -> None:
    aligner = load_aligner(str(ALIGNER), CPU)

    def run_out_of_memory(*_inputs: Any) -> None:
        raise kind("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(aligner._aligner, "align", run_out_of_memory)
    with pytest.raises(OutOfDeviceMemory, match=r"word timestamps.*2\.00 GiB.*lower WINDOW_S"):
        aligner.align(np.zeros(SAMPLE_RATE_HZ, np.float32), "Hello", "en", go_on)


def test_the_aligner_computes_in_the_dtype_of_the_model() -> None:
    aligner = load_aligner(str(ALIGNER), Placement("cpu", torch.bfloat16))
    samples = SAMPLES["zh_tea"].read()

    units = aligner.align(samples, SAMPLES["zh_tea"].text, "zh", go_on)

    assert aligner._aligner.model.dtype == torch.bfloat16
    assert "".join(unit.text for unit in units) == "我想喝一杯咖啡"


def test_the_languages_are_those_that_qwens_package_names() -> None:
    described = distribution("qwen-asr").read_text("METADATA") or ""
    (line,) = [line for line in described.splitlines() if line.startswith("| Qwen3-ForcedAligner-0.6B")]

    named = {name.strip() for name in line.split("|")[2].split(",")}
    assert named == {language_name(code) for code in QWEN3_WORD_LANGUAGES}
    assert len(QWEN3_WORD_LANGUAGES) == 11
    assert DEFAULT_ALIGNER_ID in described


def run_alignment(language: str, text: str) -> list[str]:
    """The output of a fresh process: modules after recognition, modules after alignment, the words."""
    program = f"""
import sys
import numpy as np
from shared.jobs import TranscriptionRequest, WordTimestamps
from tests.support.rows import decode_windows
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.words import make_words
from worker.settings import WorkerSettings

class Listener:
    def on_partial(self, window, delta, tail, language=None): pass
    def is_stopped(self): return False

engine = Qwen3Engine(WorkerSettings(model_id={str(TINY)!r}, aligner_id={str(ALIGNER)!r}, device="cpu"))
engine.load(lambda phase: None)
samples = np.zeros(48000, np.float32)
window = Window(index=0, spans=(Span(0, 48000),), samples=samples, end_sample=48000)
decode_windows(engine, [window], TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED), Listener())
aligner = engine._load_aligner()
aligner.align(samples, "Hello", "en", lambda: False)
print(sorted({{"_dynet", "soynlp"}} & sys.modules.keys()))
units = aligner.align(samples, {text!r}, {language!r}, lambda: False)
print(sorted({{"_dynet", "soynlp"}} & sys.modules.keys()))
print(*(word.text for word in make_words(window, {text!r}, units)))
"""
    command = [sys.executable, "-P", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_japanese_words_load_the_japanese_tokenizer_and_are_found_in_the_text() -> None:
    before, after, words = run_alignment("ja", "今日はﾎﾟｹﾓﾝとＡＢＣを、３つ見ました。")

    assert (before, after) == ("[]", "['_dynet']")
    assert words == "今日 は ﾎﾟｹﾓﾝ と ＡＢＣ を ３ つ 見 まし た"  # noqa: RUF001


def test_korean_words_load_the_korean_tokenizer_and_are_found_in_the_text() -> None:
    before, after, words = run_alignment("ko", "안녕하세요. 3번 회의를 시작합니다.")

    assert (before, after) == ("[]", "['soynlp']")
    assert words.replace(" ", "") == "안녕하세요3번회의를시작합니다"


def test_a_tokenizer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    aligner = load_aligner(str(ALIGNER), CPU)
    monkeypatch.setitem(sys.modules, "soynlp.tokenizer", None)

    with pytest.raises(ModelUnavailable, match=r"Word timestamps in Korean need a tokenizer.*soynlp"):
        aligner.align(np.zeros(SAMPLE_RATE_HZ, np.float32), "안녕", "ko", go_on)


def test_every_language_of_the_aligner_gets_all_its_words() -> None:
    aligner = load_aligner(str(ALIGNER), CPU)
    text = "Живи, l'été 3.14 – ¿qué? 好 한국"

    for language in QWEN3_WORD_LANGUAGES - {"ja"}:
        units = aligner.align(SAMPLES["en_hello"].read(), text, language, go_on)
        found = "".join(text[place] for place in find_words(text, [unit.text for unit in units]) if place)
        assert found == "Живиl'été3.14qué好한국"
