"""The steps of decoding: rows come in, their sequences are generated and repaired, and done rows come out.

Both engines share it. The model is a `TokenGenerator`, on torch or on vLLM.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import structlog

from shared.jobs import FailureCode
from worker.engines.protocol import DecodingStopped, RowFailure
from worker.engines.qwen3.decoding import DoneRow, JobDecoding, RowDecoding
from worker.engines.qwen3.sequence import SequenceState
from worker.engines.qwen3.token_generator import Generation, OutOfDeviceMemory, TokenGenerator

_logger = structlog.get_logger(__name__)


class _OpenSequence(NamedTuple):
    """A sequence that needs more tokens, and its job."""

    job: JobDecoding
    sequence: SequenceState

    @property
    def needs_tokens(self) -> bool:
        return not (self.sequence.is_accepted or self.job.is_over)


class DecodingSession:
    """The decoding of rows of some jobs at once, step by step.

    A sequence: waiting --start--> open --its generation is finished--> accepted, or waiting for its repair.
    `max_sequences` are open at once, unless the generator joins them.

    A session is a `TokenGenerator` too: its steps continue all rows beside the generations of a caller.
    """

    def __init__(self, generator: TokenGenerator, *, max_sequences: int) -> None:
        self._generator = generator
        self._max_sequences = max_sequences
        self._jobs: dict[int, JobDecoding] = {}  # by their listener
        self._waiting: list[_OpenSequence] = []
        self._retried: list[list[_OpenSequence]] = []
        """Batches to start alone after an error, the next one last."""
        self._open: list[_OpenSequence] = []
        self._has_ended = False  # whether a generation has, since rows were taken out
        self.joins_generations = generator.joins_generations
        self.decode_tokens = generator.decode_tokens
        self.max_fitting: int | None = None
        """The most sequences that fit after the device had too little memory; None if it had enough."""

    @property
    def rows(self) -> int:
        """The number of rows that are not done."""
        return sum(len(job.rows) for job in self._jobs.values())

    def add(self, rows: Sequence[RowDecoding]) -> None:
        """Decode these rows too. Those of one job are in order."""
        for row in rows:
            job = self._jobs.setdefault(id(row.row.listener), JobDecoding(row.row))
            job.rows.append(row)
            self._waiting += [_OpenSequence(job, sequence) for sequence in row.sequences]
        for job in self._jobs.values():
            job.check_stop()

    def advance(self) -> list[DoneRow]:
        """Start what waits, generate a token of each open sequence, and return the rows that are done."""
        batch = self._choose_batch()
        self._open += batch
        with suppress(Exception):  # border: sequences were prepared to go on, or their job has failed
            if batch:
                self.start([one.sequence for one in batch])
            if self._open:
                self._continue()
        self._follow()
        is_any_over = any(job.is_over for job in self._jobs.values())
        return self._take_done() if self._has_ended or is_any_over or not self._open else []

    def start(self, generations: Sequence[Generation]) -> None:
        """Open these generations; see `TokenGenerator`."""
        with self._retrying():
            self._generator.start(generations)

    def step(self) -> None:
        """Continue what is open, and publish new text of the rows; see `TokenGenerator`."""
        self._continue()
        self._follow()

    def drop(self, generations: Sequence[Generation]) -> None:
        """Continue these generations no more; see `TokenGenerator`."""
        self._generator.drop(generations)

    def close(self) -> None:
        """Drop what is open."""
        self._generator.drop([one.sequence for one in self._open])

    def _continue(self) -> None:
        with self._retrying():
            self._generator.step()

    def _follow(self) -> None:
        """Take out the sequences whose generation has ended, publish new text, and look for stops."""
        ended = [one for one in self._open if one.sequence.is_finished]
        if ended:
            self._has_ended = True
            self._open = [one for one in self._open if not one.sequence.is_finished]
            for one in ended:
                self._end_generation(one)
        for job in self._jobs.values():
            job.publish()
            job.check_stop()

    def _choose_batch(self) -> list[_OpenSequence]:
        """Return the sequences that start now.

        Those of one call share their options. After an error, each half goes alone, so that only the guilty
        job fails.
        """
        if self._open and (self._retried or not self._generator.joins_generations):
            return []
        if self._retried:
            return [one for one in self._retried.pop() if one.needs_tokens]
        waiting = [one for one in self._waiting if one.needs_tokens]
        batch = waiting
        if waiting and not self._generator.joins_generations:
            kind = waiting[0].sequence.options.kind
            batch = [one for one in waiting if one.sequence.options.kind == kind][: self._max_sequences]
        self._waiting = [one for one in waiting if one not in batch]
        return batch

    @contextmanager
    def _retrying(self) -> Iterator[None]:
        """After an error, which drops all generations, prepare the open sequences to go on."""
        try:
            yield
        except DecodingStopped:  # so are all jobs with open sequences, which end with the next look
            raise
        except Exception as error:
            failed, self._open = self._open, []
            if len(failed) == 1:
                _logger.exception("engine_failed")
                failed[0].job.failure = RowFailure(FailureCode.ENGINE_ERROR, f"The engine failed: {error}")
            elif failed:
                self._retry_halves(failed, is_memory_short=isinstance(error, OutOfDeviceMemory))
            raise

    def _retry_halves(self, batch: list[_OpenSequence], *, is_memory_short: bool) -> None:
        """Let each half of `batch` go on alone, from the tokens so far.

        The batch size is an estimate from the memory that was free after loading. Other programs on the GPU
        or a long context can use that memory.
        """
        for one in batch:
            one.sequence.end_generation()
        middle = len(batch) // 2
        if is_memory_short:
            self.max_fitting = min(middle, self.max_fitting or middle)
        self._retried += [batch[middle:], batch[:middle]]

    def _end_generation(self, one: _OpenSequence) -> None:
        one.sequence.end_generation()
        if one.sequence.failure:
            _logger.error("engine_failed", reason=one.sequence.failure)
            one.job.failure = RowFailure(FailureCode.ENGINE_ERROR, one.sequence.failure)
        elif one.needs_tokens:
            self._waiting.append(one)

    def _take_done(self) -> list[DoneRow]:
        self._has_ended = False
        over = [one for one in self._open if one.job.is_over]
        if over:
            self._generator.drop([one.sequence for one in over])
            self._open = [one for one in self._open if not one.job.is_over]
        done = [row for job in self._jobs.values() for row in job.take_done()]
        self._jobs = {key: job for key, job in self._jobs.items() if job.rows}
        return done
