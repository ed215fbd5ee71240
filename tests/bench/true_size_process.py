"""The Qwen engine with a checkpoint of true size: loading, first token, steps, callback and memory.

`python -m tests.bench.true_size_process CHECKPOINT ALIGNER DEVICE`, in the environment with torch, loads the
model. An empty line on standard input is answered with the load, as JSON. Each other line is a batch in JSON,
which is decoded and answered.
"""

import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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


class _Cut(BaseException):
    """Raised in the callback to end a generation."""


class _TimedModel:
    """A token generator that times another one, and ends its generation after TOKENS steps."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.decode_tokens = model.decode_tokens
        self.first_at = 0.0
        self.steps_s: list[float] = []
        self.callbacks_s: list[float] = []

    def generate(self, prompts: Sequence[Any], follow: Callable[..., Sequence[bool]], options: Any) -> Any:
        """Generate with the real callback."""
        last_at: float | None = None

        def timed(tokens: Any) -> Sequence[bool]:
            nonlocal last_at
            began = time.perf_counter()
            if last_at is None:
                self.first_at = began
            else:
                self.steps_s.append(began - last_at)
            last_at = began
            finished = follow(tokens)
            self.callbacks_s.append(time.perf_counter() - began)
            if len(self.callbacks_s) >= TOKENS:
                raise _Cut
            return finished

        return self._model.generate(prompts, timed, options)


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
    from worker.engines.qwen3.decoding import BatchDecoding, JobDecoding  # noqa: PLC0415
    from worker.engines.qwen3.language_regions import CutWindows  # noqa: PLC0415
    from worker.engines.qwen3.sequence import SequenceRules  # noqa: PLC0415

    draw = np.random.default_rng(1)
    length = round(batch.window_s * SAMPLE_RATE_HZ)
    windows = [
        Window(number, (Span(0, length),), draw.normal(0, 0.1, length).astype(np.float32), length)
        for number in range(batch.rows)
    ]
    model = _TimedModel(engine._model)
    request = TranscriptionRequest(language_hint="en")
    listener = _Listener()
    job = JobDecoding(
        [Row(window, request, listener) for window in windows],
        [CutWindows([window]) for window in windows],
        model.decode_tokens,
        SequenceRules(),
    )
    decoding = BatchDecoding(model, [job])
    reset_peak()
    began = time.perf_counter()
    with suppress(_Cut):
        decoding.decode()
    return Generated(
        model.first_at - began, tuple(model.steps_s), tuple(model.callbacks_s), read_memory_mib("VmHWM")
    )


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
