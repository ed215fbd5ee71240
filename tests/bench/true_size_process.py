"""The Qwen engine with a checkpoint of true size: loading, first token, steps, callback and memory.

`python -m tests.bench.true_size_process CHECKPOINT ALIGNER DEVICE`, in the environment with torch, loads the
model. An empty line on standard input is answered with the load, as JSON. Each other line is a batch in JSON,
which is decoded and answered.
"""

import re
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from worker.engines.protocol import Row, Span, Window
from worker.settings import WorkerSettings

MODULE = "tests.bench.true_size_process"
TOKENS = 16
"""The steps of a measured generation. It is cut there: random weights never end a text."""


class Loaded(msgspec.Struct, frozen=True):
    """The seconds of each phase of loading, and memory in MiB."""

    phases_s: dict[str, float]
    peak_mib: float
    resident_mib: float


class Batch(msgspec.Struct, frozen=True):
    """Windows of so many seconds, decoded at once."""

    rows: int
    window_s: float


class Generated(msgspec.Struct, frozen=True):
    """A generation of TOKENS steps: seconds to the first token, per step and of the callback, and memory."""

    first_token_s: float
    steps_s: tuple[float, ...]
    callbacks_s: tuple[float, ...]
    peak_mib: float


class _TimedGeneration:
    """A generation that times its pushes."""

    def __init__(self, generation: Any) -> None:
        self._generation = generation
        self.pushed_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generation, name)

    def push(self, token: int) -> None:
        """Take the next token."""
        began = time.perf_counter()
        self._generation.push(token)
        self.pushed_s += time.perf_counter() - began


class _TimedModel:
    """A token generator that times the steps of another one, without the work on their tokens."""

    joins_generations = False

    def __init__(self, model: Any) -> None:
        self._model = model
        self.decode_tokens = model.decode_tokens
        self._open: dict[int, _TimedGeneration] = {}
        self.step_s = 0.0

    def start(self, generations: Sequence[Any]) -> None:
        """Open these generations."""
        started = {id(generation): _TimedGeneration(generation) for generation in generations}
        self._open |= started
        self._model.start(list(started.values()))

    def step(self) -> None:
        """Continue the open generations."""
        pushed_s, began = self._count_pushes_s(), time.perf_counter()
        self._model.step()
        self.step_s = time.perf_counter() - began - (self._count_pushes_s() - pushed_s)

    def drop(self, generations: Sequence[Any]) -> None:
        """Continue these generations no more."""
        known = map(id, generations)
        self._model.drop([self._open.pop(number) for number in known if number in self._open])

    def _count_pushes_s(self) -> float:
        return sum(generation.pushed_s for generation in self._open.values())


class _Listener:
    """A listener that drops all partials."""

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Do nothing."""

    def is_stopped(self) -> bool:
        """Return False: this job is never stopped."""
        return False


def read_memory_mib(field: str) -> float:
    """Return `VmRSS` or `VmHWM` of this process: the memory now, and the peak."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def reset_peak() -> None:
    """Let the peak begin again from the memory now."""
    Path("/proc/self/clear_refs").write_text("5")


def load(checkpoint: str, aligner: str, device: str) -> tuple[Any, Loaded]:
    """Load the engine, then the aligner, and return the engine with the times."""
    from worker.engines.qwen3.engine import Qwen3Engine  # noqa: PLC0415

    marks: list[tuple[str, float]] = []
    engine = Qwen3Engine(WorkerSettings(model_id=checkpoint, device=device, aligner_id=aligner))
    engine.load(lambda phase: marks.append((phase, time.perf_counter())))
    marks.append(("end", time.perf_counter()))
    peak, resident = read_memory_mib("VmHWM"), read_memory_mib("VmRSS")
    phases = {name: later - at for (name, at), (_, later) in pairwise(marks)}
    return engine, Loaded(phases, peak, resident)


def generate(engine: Any, batch: Batch) -> Generated:
    """Decode one batch of noise up to TOKENS steps."""
    from worker.engines.qwen3.decoding import RowDecoding  # noqa: PLC0415
    from worker.engines.qwen3.language_regions import CutWindows  # noqa: PLC0415
    from worker.engines.qwen3.sequence_rules import SequenceRules  # noqa: PLC0415
    from worker.engines.qwen3.session import DecodingSession  # noqa: PLC0415

    draw = np.random.default_rng(1)
    length = round(batch.window_s * SAMPLE_RATE_HZ)
    windows = [
        Window(number, (Span(0, length),), draw.normal(0, 0.1, length).astype(np.float32), length)
        for number in range(batch.rows)
    ]
    model = _TimedModel(engine._model)
    request = TranscriptionRequest(language_hint="en")
    listener = _Listener()
    session = DecodingSession(model, max_sequences=batch.rows)
    rules = SequenceRules()
    session.add(
        [
            RowDecoding(Row(window, request, listener), CutWindows([window]), model.decode_tokens, rules)
            for window in windows
        ]
    )
    reset_peak()
    steps_s, model_s = [], []
    for _ in range(TOKENS):
        began = time.perf_counter()
        session.advance()
        steps_s.append(time.perf_counter() - began)
        model_s.append(model.step_s)
    session.close()
    callbacks_s = tuple(whole - part for whole, part in zip(steps_s, model_s, strict=True))
    return Generated(model_s[0], tuple(steps_s[1:]), callbacks_s, read_memory_mib("VmHWM"))


def serve_lines(checkpoint: str, aligner: str, device: str) -> None:
    """Load, then answer each batch, until standard input ends."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    engine, loaded = load(checkpoint, aligner, device)
    for line in sys.stdin:
        answer = generate(engine, msgspec.json.decode(line, type=Batch)) if line.strip() else loaded
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve_lines(*sys.argv[1:])
