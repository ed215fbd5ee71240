"""A batch of the engine `qwen3` has rows of many jobs, and no row notices its neighbours."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from shared.jobs import FailureCode, TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, WindowTranscript
from tests.support.rows import open_outcome
from tests.support.tiny_qwen3 import SAMPLES, SPOKEN, TINY
from worker.engines.protocol import Row, RowFailure, RowOutcome, RowStopped, Span, Window
from worker.engines.qwen3.engine import Qwen3Engine
from worker.settings import WorkerSettings

KINDS = (
    TranscriptionRequest(),
    TranscriptionRequest(language_hint="de"),
    TranscriptionRequest(context="Ada, the harbour board"),
)


class Listener:
    """A listener that collects deltas; an impatient one requests a stop after its first partial."""

    def __init__(self, *, is_impatient: bool = False) -> None:
        self.deltas: dict[int, str] = {}
        self._is_impatient = is_impatient

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        self.deltas[window] = self.deltas.get(window, "") + delta

    def is_stopped(self) -> bool:
        return self._is_impatient and bool(self.deltas)


def load_engine(**settings: str) -> Qwen3Engine:
    engine = Qwen3Engine(WorkerSettings(model_id=str(TINY), device="cpu", batch_windows=16, **settings))  # type: ignore[arg-type]
    engine.load(lambda _phase: None)
    return engine


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    return load_engine()


def make_row(name: str, request: TranscriptionRequest, *, is_impatient: bool = False) -> Row:
    audio = SAMPLES[name].read()
    window = Window(index=0, spans=(Span(0, len(audio)),), samples=audio, end_sample=len(audio))
    return Row(window, request, Listener(is_impatient=is_impatient))


def decode(engine: Qwen3Engine, rows: Sequence[Row]) -> list[RowOutcome]:
    """Return the outcomes in the order of `rows`."""
    outcomes = {id(row): outcome for row, outcome in engine.decode_rows(rows)}
    return [outcomes[id(row)] for row in rows]


def read_row(row: Row, outcome: RowOutcome) -> tuple[tuple[Segment, ...], dict[int, str]]:
    """Return what the client of a row gets: its segments, and its deltas joined."""
    assert isinstance(row.listener, Listener)
    return open_outcome(outcome).segments, row.listener.deltas


def attend_like_cudnn(attend: Callable[..., Any]) -> Callable[..., Any]:
    """Return an attention whose result is NaN where a mask hides everything, as on some GPUs."""

    def attend_or_fail(*vectors: Any, attn_mask: Any = None, **options: Any) -> Any:
        attended = attend(*vectors, attn_mask=attn_mask, **options)
        if attn_mask is None:
            return attended
        return attended.masked_fill(~attn_mask.any(-1, keepdim=True), float("nan"))

    return attend_or_fail


def test_a_shorter_row_needs_no_attention_that_sees_nothing(
    engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sorted(SPOKEN, key=lambda name: len(SAMPLES[name].read()))[:: len(SPOKEN) - 1]
    rows = [make_row(name, TranscriptionRequest()) for name in asked]
    alone = [open_outcome(*decode(engine, [row])).segments for row in rows]
    attend = attend_like_cudnn(torch.nn.functional.scaled_dot_product_attention)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)

    together = [open_outcome(outcome).segments for outcome in decode(engine, rows)]

    assert together == alone


def test_the_attention_of_cudnn_is_not_used(engine: Qwen3Engine) -> None:
    assert engine.batch_windows
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_the_text_of_a_row_is_the_same_alone_and_in_every_mixture(engine: Qwen3Engine) -> None:
    draw = random.Random(12)  # noqa: S311 - the same mixtures each time
    asked = [(name, request) for name in SPOKEN for request in KINDS]
    alone = {}
    for name, request in asked:
        row = make_row(name, request)
        alone[name, request] = read_row(row, *decode(engine, [row]))
    for _ in range(6):
        mixture = draw.sample(asked, draw.randint(2, 16))
        rows = [make_row(*one) for one in mixture]
        for one, row, outcome in zip(mixture, rows, decode(engine, rows), strict=True):
            assert read_row(row, outcome) == alone[one], one


def test_a_row_that_is_stopped_ends_alone(engine: Qwen3Engine) -> None:
    name = SPOKEN[0]
    rows = [make_row(name, KINDS[0], is_impatient=number == 1) for number in range(3)]
    first, stopped, last = decode(engine, rows)
    assert stopped == RowStopped()
    assert isinstance(first, WindowTranscript)
    assert first == last


def test_a_row_whose_request_fails_ends_alone(tmp_path: Path) -> None:
    engine = load_engine(aligner_id=str(tmp_path / "missing"))
    words = TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)
    rows = [make_row(SPOKEN[0], request) for request in (KINDS[0], words, KINDS[1])]
    good, failed, other = decode(engine, rows)
    assert isinstance(failed, RowFailure)
    assert failed.code is FailureCode.MODEL_UNAVAILABLE
    assert isinstance(good, WindowTranscript)
    assert isinstance(other, WindowTranscript)


def test_rows_with_other_temperatures_share_a_batch(engine: Qwen3Engine) -> None:
    name = SPOKEN[0]
    warm = msgspec.structs.replace(KINDS[0], temperature=0.01)
    cold, sampled = decode(engine, [make_row(name, KINDS[0]), make_row(name, warm)])
    assert open_outcome(cold).segments == open_outcome(sampled).segments
