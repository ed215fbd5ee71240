"""The repetition penalty of a repair counts the text so far, and nothing of the prompt, on both engines."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor

from shared.transcripts import TokenCounts
from tests.support.tiny_qwen3 import SAMPLES, TINY
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.inputs import END_TOKENS, GenerationOptions, Prompt, take_all
from worker.engines.qwen3.vllm_model import OUTPUT_PENALTY
from worker.settings import WorkerSettings

MAX_TOKENS = 40
PENALISED = GenerationOptions(MAX_TOKENS, avoid_repeats=True)
PENALTY = PENALISED.repetition_penalty
NAMES = ("en_fox", "de_digits5", "zh_tea")
END = max(END_TOKENS)


class Collected:
    """A generation that collects its tokens."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt, self.options = prompt, PENALISED
        self.tokens: list[int] = []
        self.is_finished = False

    def is_stopped(self) -> bool:
        return False

    def push(self, token: int) -> None:
        self.tokens.append(token)
        self.is_finished = token in END_TOKENS or len(self.tokens) == MAX_TOKENS

    def count_prompt(self, counts: TokenCounts) -> None:
        pass

    def fail(self, message: str) -> None:
        pytest.fail(message)


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    engine = Qwen3Engine(WorkerSettings(model_id=str(TINY), device="cpu"))
    engine.load(lambda _phase: None)
    return engine


def make_prompt(name: str, said: str, engine: Qwen3Engine) -> Prompt:
    tokenizer = engine._model._processor._processor.tokenizer
    return Prompt(take_all(SAMPLES[name].read()), "Ada", None, tuple(tokenizer(said)["input_ids"]))


def generate(engine: Qwen3Engine, prompts: list[Prompt]) -> list[list[int]]:
    generations = [Collected(prompt) for prompt in prompts]
    engine._model.start(generations)
    while not all(generation.is_finished for generation in generations):
        engine._model.step()
    return [generation.tokens for generation in generations]


def generate_by_transformers(engine: Qwen3Engine, prompt: Prompt) -> list[int]:
    """The tokens of one prompt, with the processor of transformers that ignores so much of a prompt."""
    folder = str(TINY / "checkpoint")
    model: Any = Qwen3ASRForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    processor: Any = Qwen3ASRProcessor.from_pretrained(folder, fix_mistral_regex=False)
    text = engine._model._processor.build_prompt(prompt.context, prompt.language)
    inputs = processor(text=[text], audio=[prompt.audio.read()], return_tensors="pt")
    opened = inputs["input_ids"].shape[1]
    tokens = torch.cat([inputs["input_ids"], torch.tensor([prompt.generated])], dim=-1)
    ignoring = RepetitionPenaltyLogitsProcessor(PENALTY, prompt_ignore_length=opened)
    generated = model.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        input_features=inputs["input_features"],
        feature_attention_mask=inputs["feature_attention_mask"],
        max_new_tokens=MAX_TOKENS,
        eos_token_id=sorted(END_TOKENS),
        pad_token_id=min(END_TOKENS),
        logits_processor=LogitsProcessorList([ignoring]),
    )
    return generated.sequences[0, tokens.shape[1] :].tolist()  # type: ignore[no-any-return]


def test_a_padded_batch_is_penalised_as_transformers_does_each_row_without_its_prompt(
    engine: Qwen3Engine,
) -> None:
    prompts = [
        make_prompt(name, f"language {SAMPLES[name].language}<asr_text>{SAMPLES[name].text[:4]}", engine)
        for name in NAMES
    ]

    assert generate(engine, prompts) == [generate_by_transformers(engine, prompt) for prompt in prompts]


def test_an_end_token_in_the_prompt_does_not_keep_a_text_from_ending(
    engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [make_prompt(name, "language English<asr_text>", engine) for name in NAMES]
    tokens = engine._model._processor.tokenize(prompts[0])
    assert END in tokens
    scores = torch.zeros(151_936)
    scores[END], scores[max(set(range(1_000)) - set(tokens))] = 1.1, 1.0
    head = engine._model._thinker.lm_head
    monkeypatch.setattr(head, "forward", lambda hidden: scores[: head.out_features].repeat(len(hidden), 1))

    assert generate(engine, prompts) == [[END]] * len(NAMES)


@pytest.fixture
def make_penalty(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Makes the processor of a request with these `extra_args`, as vLLM's class with that name does."""
    module: Any = ModuleType("vllm.v1.sample.logits_processor")
    module.AdapterLogitsProcessor = object
    monkeypatch.setitem(sys.modules, module.__name__, module)
    name, _, of_class = OUTPUT_PENALTY.partition(":")
    monkeypatch.delitem(sys.modules, name, raising=False)
    penalty = getattr(importlib.import_module(name), of_class)()
    assert not penalty.is_argmax_invariant()
    return lambda extra_args: penalty.new_req_logits_processor(SimpleNamespace(extra_args=extra_args))


def test_on_vllm_the_text_so_far_and_the_output_are_penalised(make_penalty: Callable[[Any], Any]) -> None:
    scores = torch.randn(50, generator=torch.Generator().manual_seed(1))
    expected = RepetitionPenaltyLogitsProcessor(PENALTY)(torch.tensor([[3, 4, 9, 9]]), scores[None])[0]

    penalise = make_penalty({"penalty": PENALTY, "said": [3, 4]})

    assert torch.equal(penalise([9, 9, -1], scores), expected)
    assert make_penalty(None) is None
