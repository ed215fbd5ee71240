"""The engine `qwen3-vllm` with Qwen's own processor: a stub of vLLM returns the tokens of the miniature."""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from tests.support.rows import decode_windows, open_outcome
from tests.support.tiny_qwen3 import SAMPLES, TINY
from tests.support.vllm_stand_in import Request, VllmStandIn
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import Row, Span, Window
from worker.engines.qwen3.inputs import END_TOKENS
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.engines.qwen3.vllm_engine import Qwen3VllmEngine
from worker.settings import WorkerSettings

NAMES = ("de_digits5", "zh_digits4", "en_digits6")


class Miniature:
    """The tokens of the miniature for a request with one token for all of the audio, as vLLM takes it."""

    def __init__(self) -> None:
        folder = str(TINY / "checkpoint")
        self._model: Any = Qwen3ASRForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self._processor: Any = Qwen3ASRProcessor.from_pretrained(folder, fix_mistral_regex=False)

    def speak(self, request: Request) -> list[int]:
        """All tokens that the request may take."""
        audio_token = self._processor.tokenizer.convert_tokens_to_ids(self._processor.audio_token)
        heard = self._processor(text=["<|audio_pad|>"], audio=[request.audio], return_tensors="pt")
        assert request.prompt_tokens.count(audio_token) == 1
        place = request.prompt_tokens.index(audio_token)
        tokens = list(request.prompt_tokens)
        tokens[place : place + 1] = heard["input_ids"][0].tolist()
        generated = self._model.generate(
            input_ids=torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
            input_features=heard["input_features"],
            feature_attention_mask=heard["feature_attention_mask"],
            max_new_tokens=request.params.max_tokens,
            eos_token_id=sorted(END_TOKENS),
            pad_token_id=min(END_TOKENS),
        )
        return generated.sequences[0, len(tokens) :].tolist()  # type: ignore[no-any-return]


class Listener:
    """Notes the partials."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        self.texts[window] = self.texts.get(window, "") + delta

    def is_stopped(self) -> bool:
        return False


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return Miniature()


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch, miniature: Miniature) -> Iterator[VllmStandIn]:
    stand_in = VllmStandIn(miniature.speak)
    stand_in.delay = 2
    for name, module in stand_in.make_modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    assert importlib.import_module("vllm").__version__.endswith("stub")
    yield stand_in
    assert stand_in.engine is not None
    assert stand_in.engine.running == {}


def make_windows() -> list[Window]:
    windows = []
    for number, name in enumerate(NAMES):
        clip = SAMPLES[name].read()
        span = Span(100 * SAMPLE_RATE_HZ * number, 100 * SAMPLE_RATE_HZ * number + len(clip))
        windows.append(Window(number, (span,), clip, span.end))
    return windows


@pytest.mark.parametrize("rules", [SequenceRules(), SequenceRules(max_new_tokens=9, truncation_repairs=3)])
def test_texts_are_those_of_the_model_also_over_several_generations(
    vllm: VllmStandIn, rules: SequenceRules
) -> None:
    settings = WorkerSettings(model_id=str(TINY), language_changes=LanguageChanges.OFF)
    engine = Qwen3VllmEngine(settings, rules=rules)
    engine.load(lambda _phase: None)
    listener = Listener()

    transcripts = decode_windows(engine, make_windows(), TranscriptionRequest(), listener)

    segments = [segment for transcript in transcripts for segment in transcript.segments]
    assert [segment.text for segment in segments] == [SAMPLES[name].text for name in NAMES]
    assert [segment.language for segment in segments] == [SAMPLES[name].code for name in NAMES]
    assert [listener.texts[number] for number in range(len(NAMES))] == [segment.text for segment in segments]
    assert all(transcript.is_complete and not transcript.warnings for transcript in transcripts)
    assert (len(vllm.requests) > len(NAMES)) == (rules.max_new_tokens is not None)


def test_a_forced_language_goes_into_the_prompt(vllm: VllmStandIn) -> None:
    engine = Qwen3VllmEngine(WorkerSettings(model_id=str(TINY)))
    engine.load(lambda _phase: None)

    [window, *_] = make_windows()
    (transcript,) = decode_windows(engine, [window], TranscriptionRequest(language_hint="de"), Listener())

    assert [segment.language for segment in transcript.segments] == ["de"]
    assert engine._model.decode_tokens(vllm.requests[0].prompt_tokens).endswith("language German<asr_text>")


def test_texts_are_the_same_when_windows_join_one_by_one(vllm: VllmStandIn) -> None:
    engine = Qwen3VllmEngine(WorkerSettings(model_id=str(TINY)))
    engine.load(lambda _phase: None)
    rows = [Row(window, TranscriptionRequest(), Listener()) for window in make_windows()]
    waiting = list(enumerate(rows))[1:]

    def take_more(_free_rows: int) -> list[Row]:
        is_due = waiting and vllm.steps > 4 * waiting[0][0]
        return [waiting.pop(0)[1]] if is_due else []

    outcomes = {row.window.index: outcome for row, outcome in engine.decode_rows(rows[:1], take_more)}

    texts = [open_outcome(outcomes[number]).segments[0].text for number in range(len(NAMES))]
    assert texts == [SAMPLES[name].text for name in NAMES]
