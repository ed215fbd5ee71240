"""The engine `qwen3` draws its tokens at the requested temperature, and takes the likeliest at 0."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from shared.jobs import TranscriptionRequest
from shared.transcripts import TokenCounts
from tests.support.qwen3_stand_in import Listener
from tests.support.rows import decode_windows
from tests.support.tiny_qwen3 import EXACT, SAMPLES, TINY
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.generation import GenerationBatch
from worker.engines.qwen3.inputs import GenerationOptions, Prompt, take_all
from worker.engines.qwen3.token_generator import Generation
from worker.settings import WorkerSettings

# Far above what a request may ask for: the tiny model is so sure of its tokens that 1 changes few of them.
HOT = 20.0


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    settings = WorkerSettings(model_id=str(TINY), device="cpu", language_changes=LanguageChanges.OFF)
    loaded = Qwen3Engine(settings)
    loaded.load(lambda _phase: None)
    return loaded


class Eight:
    """A generation of eight tokens."""

    def __init__(self, options: GenerationOptions) -> None:
        self.prompt = Prompt(take_all(SAMPLES[EXACT[0]].read()), "", None, ())
        self.options = options
        self.tokens: list[int] = []

    @property
    def is_finished(self) -> bool:
        return len(self.tokens) == 8

    def is_stopped(self) -> bool:
        return False

    def push(self, token: int) -> None:
        self.tokens.append(token)

    def count_prompt(self, counts: TokenCounts) -> None:
        pass

    def fail(self, message: str) -> None:
        pytest.fail(message)


def draw(engine: Qwen3Engine, *, temperature: float, seed: int) -> list[int]:
    """Eight tokens of the first sample."""
    torch.manual_seed(seed)
    drawn = Eight(GenerationOptions(max_new_tokens=8, temperature=temperature))
    engine._model.start([drawn])
    while not drawn.is_finished:
        engine._model.step()
    return drawn.tokens


def test_a_temperature_draws_and_none_takes_the_likeliest(engine: Qwen3Engine) -> None:
    likeliest = draw(engine, temperature=0.0, seed=1)

    assert draw(engine, temperature=0.0, seed=2) == likeliest
    assert draw(engine, temperature=HOT, seed=1) != likeliest
    assert draw(engine, temperature=HOT, seed=1) != draw(engine, temperature=HOT, seed=2)
    assert draw(engine, temperature=HOT, seed=1) == draw(engine, temperature=HOT, seed=1)


@pytest.mark.parametrize(("asked", "taken"), [(None, 0.0), (0.0, 0.0), (0.4, 0.4)])
def test_a_request_chooses_the_temperature(
    engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch, asked: float | None, taken: float
) -> None:
    seen: list[float] = []

    def spy(thinker: Any, generations: Sequence[Generation], prepare: Any) -> GenerationBatch:
        seen.extend(generation.options.temperature for generation in generations)
        return GenerationBatch(thinker, generations, prepare)

    monkeypatch.setattr("worker.engines.qwen3.engine.GenerationBatch", spy)
    audio = SAMPLES[EXACT[0]].read()
    window = Window(index=0, spans=(Span(0, len(audio)),), samples=audio, end_sample=len(audio))
    decode_windows(engine, [window], TranscriptionRequest(temperature=asked), Listener())

    assert set(seen) == {taken}
