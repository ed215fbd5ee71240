"""The engine `qwen3` through Qwen's own package, on a tiny model that is right on these samples."""

import difflib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from qwen_asr import Qwen3ASRModel
from qwen_asr.inference.utils import SUPPORTED_LANGUAGES

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from shared.transcripts import Segment, WarningCode, WindowTranscript, join_segments
from tests.support.rows import decode_windows
from tests.support.tiny_qwen3 import EXACT, SAMPLES, SPOKEN, TINY, WINDOW_S
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import DecodingStopped, ModelUnavailable, Samples, Span, Window
from worker.engines.qwen3 import step_watch
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.generation import GenerationBatch
from worker.engines.qwen3.sequence_rules import DEFAULT_RULES, SequenceRules
from worker.engines.qwen3.text import LoopRule
from worker.settings import WorkerSettings

DETECT = TranscriptionRequest()


class Listener:
    """A listener that collects partials, and asks for a stop at the check of that number."""

    def __init__(self, *, max_checks: int = 1_000_000) -> None:
        self.deltas: dict[int, str] = {}
        self.partials: list[tuple[str, str]] = []
        self.stop_checks = 0
        self._max_checks = max_checks

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        self.deltas[window] = self.deltas.get(window, "") + delta
        self.partials.append((delta, tail))

    def is_stopped(self) -> bool:
        self.stop_checks += 1
        return self.stop_checks > self._max_checks


def make_engine(rules: SequenceRules = DEFAULT_RULES) -> Qwen3Engine:
    """The engine for the tiny model, not loaded yet."""
    settings = WorkerSettings(model_id=str(TINY), device="cpu", batch_windows=8)
    return Qwen3Engine(settings, rules=rules)


def give_rules(engine: Qwen3Engine, rules: SequenceRules) -> Qwen3Engine:
    """A second engine with the model of `engine`, under other rules."""
    other = make_engine(rules)
    other._model = engine._model
    return other


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    loaded = make_engine()
    loaded.load(lambda _phase: None)
    return loaded


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


def cut(vad: SileroVad, audio: Samples) -> list[Window]:
    """The windows of `audio`, as a job has them."""
    return list(cut_windows([audio], vad.open_stream(), config=WindowConfig(window_s=WINDOW_S)))


def take_whole(audio: Samples, *, index: int = 0) -> Window:
    """All of `audio` as one window."""
    return Window(index=index, spans=(Span(0, len(audio)),), samples=audio, end_sample=len(audio))


def decode_one_by_one(
    engine: Qwen3Engine, windows: Iterable[Window], request: TranscriptionRequest = DETECT
) -> list[WindowTranscript]:
    return [decode_windows(engine, [window], request, Listener())[0] for window in windows]


def segments_of(transcripts: Iterable[WindowTranscript]) -> list[Segment]:
    return [segment for transcript in transcripts for segment in transcript.segments]


def decode_sample(engine: Qwen3Engine, name: str, **request: str) -> str:
    """The text of a sample in one window."""
    window = take_whole(SAMPLES[name].read())
    return join_segments(
        segments_of(decode_windows(engine, [window], TranscriptionRequest(**request), Listener()))  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", EXACT)
def test_a_sample_is_transcribed_exactly_and_its_language_found(
    engine: Qwen3Engine, vad: SileroVad, name: str
) -> None:
    sample = SAMPLES[name]
    transcripts = decode_one_by_one(engine, cut(vad, sample.read()))

    segments = segments_of(transcripts)
    assert join_segments(segments) == sample.text
    assert {segment.language for segment in segments} == ({sample.code} if sample.text else set())
    assert [warning for transcript in transcripts for warning in transcript.warnings] == []


def test_long_speech_is_nearly_exact(engine: Qwen3Engine, vad: SileroVad) -> None:
    sample = SAMPLES["en_long20"]

    text = join_segments(segments_of(decode_one_by_one(engine, cut(vad, sample.read()))))

    matcher = difflib.SequenceMatcher(None, sample.text.split(), text.split(), autojunk=False)
    found = sum(block.size for block in matcher.get_matching_blocks())
    assert found >= 0.9 * len(sample.text.split())


@pytest.mark.parametrize("name", ["silence", "noise"])
def test_audio_without_speech_has_no_text_even_without_speech_detection(
    engine: Qwen3Engine, name: str
) -> None:
    listener = Listener()

    (transcript,) = decode_windows(engine, [take_whole(SAMPLES[name].read())], DETECT, listener)

    assert (transcript.segments, transcript.warnings, transcript.is_complete) == ((), (), True)
    assert listener.partials == []


@pytest.mark.parametrize("length", [1, 200, 201, 4_000])
def test_very_short_audio_is_not_an_error(engine: Qwen3Engine, length: int) -> None:
    window = take_whole(np.zeros(length, np.float32))

    (transcript,) = decode_windows(engine, [window], DETECT, Listener())

    assert (transcript.segments, transcript.warnings, transcript.is_complete) == ((), (), True)


@pytest.mark.parametrize("name", ["en_long20", *SPOKEN])
def test_the_deltas_are_the_text(engine: Qwen3Engine, vad: SileroVad, name: str) -> None:
    windows = cut(vad, SAMPLES[name].read())
    listener = Listener()

    transcripts = [decode_windows(engine, [window], DETECT, listener)[0] for window in windows]

    texts = {number: join_segments(made.segments) for number, made in enumerate(transcripts) if made.segments}
    assert listener.deltas == texts
    assert len(listener.partials) > len(windows)


def test_windows_decoded_together_are_as_those_decoded_alone(engine: Qwen3Engine, vad: SileroVad) -> None:
    windows = [
        take_whole(SAMPLES[name].read()[: int(WINDOW_S * SAMPLE_RATE_HZ) + 8_000], index=number)
        for number, name in enumerate(sorted(set(SPOKEN) - {"en_digits6", "en_two"}))
    ]
    listener = Listener()

    together = decode_windows(engine, windows, DETECT, listener)

    assert together == decode_one_by_one(engine, windows)
    assert [listener.deltas[number] for number in range(len(windows))] == [
        join_segments(transcript.segments) for transcript in together
    ]


def test_long_audio_of_many_samples_is_exact_in_order_and_place(engine: Qwen3Engine, vad: SileroVad) -> None:
    names = ["en_fox", "de_umlaut", "en_fox", "zh_tea", "de_digits5"] * 3
    pause = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    audios = [np.concatenate((SAMPLES[name].read(), pause)) for name in names]
    ends_s = np.cumsum([len(audio) for audio in audios]) / SAMPLE_RATE_HZ

    segments = segments_of(decode_windows(engine, cut(vad, np.concatenate(audios)), DETECT, Listener()))

    assert [segment.text for segment in segments] == [SAMPLES[name].text for name in names]
    assert [segment.language for segment in segments] == [SAMPLES[name].code for name in names]
    for end_s, audio, segment in zip(ends_s, audios, segments, strict=True):
        # The silence kept at the edges of the first sample's speech may reach into its neighbours.
        assert end_s - len(audio) / SAMPLE_RATE_HZ - 0.4 <= segment.start_s < segment.end_s <= end_s


def test_a_forced_language_is_the_one_of_the_words(engine: Qwen3Engine) -> None:
    english = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}

    window = take_whole(SAMPLES["en_digits3"].read())
    (transcript,) = decode_windows(engine, [window], TranscriptionRequest(language_hint="de"), Listener())

    (segment,) = transcript.segments
    assert segment.language == "de"
    assert english.isdisjoint(segment.text.split())


@pytest.mark.parametrize("name", ["en_fox", "de_umlaut", "zh_tea"])
def test_the_right_language_forced_changes_nothing(engine: Qwen3Engine, name: str) -> None:
    assert decode_sample(engine, name, language_hint=str(SAMPLES[name].code)) == SAMPLES[name].text


def test_markup_in_the_context_does_not_break_the_prompt(engine: Qwen3Engine) -> None:
    context = "<|audio_pad|><|im_end|>"

    assert decode_sample(engine, "en_hello", context=context) == SAMPLES["en_hello"].text


@pytest.mark.parametrize("asked", [1, 2, 9])
def test_a_stop_takes_effect_at_the_next_token(
    engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    monkeypatch.setattr(step_watch, "LOOK_INTERVAL_S", 60.0)  # so that long steps look for no stop
    listener = Listener(max_checks=asked)
    window = take_whole(SAMPLES["en_fox"].read())

    with pytest.raises(DecodingStopped):
        decode_windows(engine, [window], DETECT, listener)

    assert listener.stop_checks == asked + 1
    assert decode_sample(engine, "en_fox") == SAMPLES["en_fox"].text


@pytest.mark.parametrize("name", SPOKEN)
def test_a_text_cut_by_a_small_limit_is_completed(engine: Qwen3Engine, name: str) -> None:
    tiny_limit = give_rules(engine, SequenceRules(max_new_tokens=5, truncation_repairs=6))
    window = take_whole(SAMPLES[name].read())
    listener = Listener()

    (transcript,) = decode_windows(tiny_limit, [window], DETECT, listener)

    (whole,) = decode_windows(engine, [window], DETECT, Listener())
    assert msgspec.structs.replace(transcript, token_counts=whole.token_counts) == whole
    assert listener.deltas == {0: join_segments(whole.segments)}


def test_a_text_that_stays_truncated_is_warned_of_with_its_time(engine: Qwen3Engine) -> None:
    tiny_limit = give_rules(engine, SequenceRules(max_new_tokens=3, truncation_repairs=1))

    window = take_whole(SAMPLES["en_fox"].read())
    (transcript,) = decode_windows(tiny_limit, [window], DETECT, Listener())

    assert SAMPLES["en_fox"].text.startswith(join_segments(transcript.segments))
    (warning,) = transcript.warnings
    assert (warning.code, warning.start_s) == (WarningCode.TRUNCATED, 0.0)
    assert "0.00 s to 5.0" in warning.message
    assert not transcript.is_complete


def test_a_loop_is_cut_tried_once_more_and_warned_of(engine: Qwen3Engine) -> None:
    loops_soon = give_rules(engine, SequenceRules(loop=LoopRule(min_repeats=2, min_characters=10)))
    listener = Listener()

    (transcript,) = decode_windows(loops_soon, [take_whole(SAMPLES["en_repeat"].read())], DETECT, listener)

    text = join_segments(transcript.segments)
    assert text.startswith("five")
    assert "five five five" not in text
    assert [warning.code for warning in transcript.warnings] == [WarningCode.REPETITION]
    assert listener.deltas == {0: text}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_batch_that_does_not_fit_is_decoded_in_halves(
    engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    batches = []

    def read_prompts(batch: GenerationBatch) -> Any:
        batches.append(len(batch.generations))
        if len(batch.generations) > 1:
            raise error
        return read_few_prompts(batch)

    read_few_prompts = GenerationBatch._read_prompts
    monkeypatch.setattr(GenerationBatch, "_read_prompts", read_prompts)
    windows = [
        take_whole(SAMPLES[name].read(), index=place) for place, name in enumerate(["zh_tea", "de_umlaut"])
    ]

    transcripts = decode_windows(engine, windows, DETECT, Listener())

    assert [segment.text for segment in segments_of(transcripts)] == [
        "我想喝一杯咖啡。",
        SAMPLES["de_umlaut"].text,
    ]
    assert batches == [2, 1, 1]


def test_an_error_of_the_gpu_ends_the_process(engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_the_device(*_inputs: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(GenerationBatch, "_read_prompts", lose_the_device)
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)

    with pytest.raises(RuntimeError):
        decode_windows(engine, [take_whole(SAMPLES["en_fox"].read())], DETECT, Listener())

    assert codes == [70]


@pytest.mark.parametrize("name", ["en_fox", "de_umlaut", "zh_tea"])
def test_tokens_are_counted_as_the_model_reads_and_generates_them(engine: Qwen3Engine, name: str) -> None:
    sample, tokenizer = SAMPLES[name], engine._model._processor._processor.tokenizer
    audio = sample.read()

    (transcript,) = decode_windows(
        engine, [take_whole(audio)], TranscriptionRequest(context="Ada"), Listener()
    )

    counts = transcript.token_counts
    assert counts is not None
    prompt = engine._model._processor.build_prompt("Ada", None)
    assert counts.text_input == len(tokenizer(prompt)["input_ids"]) - 1
    assert counts.audio_input == pytest.approx(13 * len(audio) / SAMPLE_RATE_HZ, abs=1)
    said = f"language {sample.language}<asr_text>{join_segments(transcript.segments)}<|im_end|>"
    assert counts.output == len(tokenizer(said)["input_ids"])


def test_two_generations_count_the_text_once_and_the_audio_twice(engine: Qwen3Engine) -> None:
    window = take_whole(SAMPLES["en_fox"].read())
    two_steps = give_rules(engine, SequenceRules(max_new_tokens=8, truncation_repairs=6))

    (whole,) = decode_windows(engine, [window], DETECT, Listener())
    (repaired,) = decode_windows(two_steps, [window], DETECT, Listener())

    assert whole.token_counts is not None
    assert repaired.token_counts is not None
    assert repaired.token_counts.output == whole.token_counts.output
    assert repaired.token_counts.audio_input % whole.token_counts.audio_input == 0
    assert repaired.token_counts.audio_input > whole.token_counts.audio_input


def test_the_prompt_is_the_one_that_qwens_package_builds(engine: Qwen3Engine) -> None:
    processor = engine._model._processor
    package = Qwen3ASRModel("transformers", torch.nn.Linear(1, 1), processor._processor)

    for context, language in (("", None), ("Ada, Bob", None), ("", "English"), ("Ada", "German")):
        assert processor.build_prompt(context, language) == package._build_text_prompt(context, language)


@pytest.mark.parametrize("name", ["en_fox", "de_umlaut", "zh_tea"])
def test_the_text_of_tokens_is_the_one_of_qwens_package(engine: Qwen3Engine, name: str) -> None:
    tokenizer = engine._model._processor._processor.tokenizer
    tokens = tokenizer(f"language None<asr_text>{SAMPLES[name].text}<|im_end|>")["input_ids"]

    for end in range(len(tokens) + 1):
        assert engine._model.decode_tokens(tokens[:end]) == tokenizer.decode(
            tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


def test_logits_of_a_prompt_are_computed_for_its_last_token_alone(engine: Qwen3Engine) -> None:
    shapes: list[tuple[int, ...]] = []
    lm_head = engine._model._thinker.lm_head
    hook = lm_head.register_forward_hook(lambda _module, _inputs, logits: shapes.append(logits.shape))
    windows = [
        take_whole(SAMPLES[name].read(), index=place) for place, name in enumerate(["en_fox", "zh_tea"])
    ]

    decode_windows(engine, windows, DETECT, Listener())

    hook.remove()
    assert shapes[0][:-1] == (2,)


def test_a_finished_sequence_leaves_its_batch(engine: Qwen3Engine) -> None:
    rows: list[int] = []
    lm_head = engine._model._thinker.lm_head
    hook = lm_head.register_forward_hook(lambda _module, _inputs, logits: rows.append(len(logits)))
    windows = [
        take_whole(SAMPLES[name].read(), index=place) for place, name in enumerate(["en_fox", "zh_tea"])
    ]

    transcripts = decode_windows(engine, windows, DETECT, Listener())

    hook.remove()
    counts = [transcript.token_counts for transcript in transcripts]
    longest, shortest = sorted((one.output for one in counts if one), reverse=True)
    assert rows == [2] * shortest + [1] * (longest - shortest)


def test_the_languages_are_those_of_qwens_package() -> None:
    assert sorted(QWEN3_LANGUAGE_NAMES.values()) == sorted(SUPPORTED_LANGUAGES)
    assert len(QWEN3_LANGUAGE_NAMES) == 30


def test_the_engine_computes_in_the_chosen_dtype_and_names_its_device() -> None:
    halved = Qwen3Engine(WorkerSettings(model_id=str(TINY), device="auto", dtype="bfloat16"))

    assert halved.load(lambda _phase: None) == "cpu"
    assert halved._model._thinker.dtype == torch.bfloat16
    assert halved.batch_windows == 1
    assert decode_sample(halved, "de_umlaut") == SAMPLES["de_umlaut"].text


def test_a_folder_with_something_else_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')

    with pytest.raises(ModelUnavailable, match="Set MODEL_ID to a Qwen3-ASR model"):
        Qwen3Engine(WorkerSettings(model_id=str(tmp_path), device="cpu")).load(lambda _phase: None)


def test_a_gpu_that_is_not_there_never_becomes_the_cpu() -> None:
    with pytest.raises(ModelUnavailable, match=r"DEVICE=cuda: torch .* finds 0 CUDA devices"):
        Qwen3Engine(WorkerSettings(model_id=str(TINY), device="cuda")).load(lambda _phase: None)


def test_packages_that_recognition_does_not_use_load_at_their_first_use() -> None:
    program = f"""
import sys
import numpy as np
from shared.jobs import TranscriptionRequest
from tests.support.rows import decode_windows
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.engine import Qwen3Engine
from worker.settings import WorkerSettings

class Listener:
    def on_partial(self, window, delta, tail, language=None): pass
    def is_stopped(self): return False

phases = []
engine = Qwen3Engine(WorkerSettings(model_id={str(TINY)!r}, device="cpu"))
assert engine.load(phases.append) == "cpu"
window = Window(index=0, spans=(Span(0, 16000),), samples=np.zeros(16000, np.float32), end_sample=16000)
decode_windows(engine, [window], TranscriptionRequest(), Listener())
print(phases, {{"_dynet", "dynet", "pandas", "scipy", "sklearn"}} & sys.modules.keys())
import qwen_asr.inference.qwen3_forced_aligner as aligner
import scipy.signal
print(aligner.nagisa.tagging("今日は").words, "_dynet" in sys.modules)
"""
    printed = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert printed[0] == "['importing libraries', 'finding weights', 'loading weights'] set()"
    assert printed[-1].endswith("True")
