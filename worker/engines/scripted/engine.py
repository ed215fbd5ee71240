"""The engine `scripted`, for tests: a word per second of audio, at a given speed, with faults on request."""

import os
import signal
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec
import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, WindowTranscript, Word
from worker.engines.protocol import (
    DecodingListener,
    ModelUnavailable,
    PhaseReporter,
    Row,
    RowOutcome,
    Samples,
    TakeRows,
    Window,
    raise_if_stopped,
    settle,
    take_no_rows,
)
from worker.settings import WorkerSettings

WORDS = (  # noqa: SIM905 - a literal of as many lines as words is no easier to read
    "amber basil cedar delta ember fjord grove haven ivory jewel kayak lemon mango noble ocean pearl "
    "quartz river solar tiger umber velvet willow xenon yonder zephyr acorn birch coral dune elm fern"
).split()

_LANGUAGE = "en"

# The longest that a waiting engine takes to notice a stop.
_POLL_S = 0.02
_INT16_SCALE = 32_768


class Misbehaviour(StrEnum):
    """A fault of the engine in place of a transcription."""

    NONE = "none"  # transcribes as usual
    DIE_IN_LOAD = "die_in_load"  # kills its process while loading
    FAIL_LOAD = "fail_load"  # raises an error in `load`
    DIE_IN_DECODE = "die_in_decode"  # kills its process in the middle of a window
    HANG = "hang"  # never returns from a window, and ignores stops
    IGNORE_STOP = "ignore_stop"  # ignores stops, and goes on at its speed
    RAISE = "raise"  # raises an error in the middle of a window
    PRINT_GARBAGE = "print_garbage"  # writes to standard output, then transcribes as usual


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The behaviour in decoding. A request overrides any field by JSON in its `context`.

    `speed` is seconds of audio per second, 0 for at once. A fault in decoding occurs in the window of index
    `window`, or in each window if that is None. If `marker` names a file, the fault occurs only once: the
    file is created before it, and an existing file prevents it.
    """

    speed: float
    misbehaviour: Misbehaviour
    window: int | None = None
    marker: str | None = None


class ScriptedEngine:
    """The engine `scripted`; `worker.engines.protocol.Engine` describes its methods."""

    needs_speech = False

    def __init__(self, settings: WorkerSettings) -> None:
        self.batch_windows = max(1, settings.batch_windows)
        self.joins_rows = settings.scripted_joins_rows
        self._load_s = settings.scripted_load_s
        misbehaviour = Misbehaviour(settings.scripted_misbehaviour)
        self._behaviour = Behaviour(settings.scripted_speed, misbehaviour)

    def load(self, report_phase: PhaseReporter) -> str:
        """Take the seconds of SCRIPTED_LOAD_S."""
        report_phase("reading the script")
        match self._behaviour.misbehaviour:
            case Misbehaviour.FAIL_LOAD:
                raise ModelUnavailable("The scripted engine fails to load, as configured.")
            case Misbehaviour.DIE_IN_LOAD:
                _die()
        time.sleep(self._load_s)
        return "cpu"

    def decode_rows(
        self, rows: Sequence[Row], take_more: TakeRows = take_no_rows
    ) -> Iterator[tuple[Row, RowOutcome]]:
        """Yield the words of each row after the time that its audio takes; all jobs advance side by side."""
        ended: SimpleQueue[tuple[Row, RowOutcome]] = SimpleQueue()
        waiting: dict[int, deque[Row]] = {}  # by job: its partials may come only after its last outcome

        def decode(row: Row) -> None:
            ended.put((row, settle(partial(self._decode, row))))

        in_decoding = 0
        with ThreadPoolExecutor(max(len(rows), self.batch_windows), "rows") as pool:
            while rows or in_decoding:
                in_decoding += len(rows)
                for row in rows:
                    if id(row.listener) in waiting:
                        waiting[id(row.listener)].append(row)
                    else:
                        waiting[id(row.listener)] = deque()
                        pool.submit(decode, row)
                with suppress(Empty):
                    row, outcome = ended.get(timeout=_POLL_S if self.joins_rows else None)
                    yield row, outcome
                    in_decoding -= 1
                    if following := waiting[id(row.listener)]:
                        pool.submit(decode, following.popleft())
                    else:
                        del waiting[id(row.listener)]
                rows = take_more(max(0, self.batch_windows - in_decoding)) if self.joins_rows else ()

    def _decode(self, row: Row) -> WindowTranscript:
        behaviour = _override(self._behaviour, row.request.context)
        return _WindowDecoding(row.window, behaviour, row.listener).transcribe(row.request)


class _WindowDecoding:
    """The decoding of one window."""

    def __init__(self, window: Window, behaviour: Behaviour, listener: DecodingListener) -> None:
        self._window = window
        self._second_s = 1 / behaviour.speed if behaviour.speed else 0.0
        self._listener = listener
        self._misbehaviour = _due_misbehaviour(behaviour, window.index)

    def transcribe(self, request: TranscriptionRequest) -> WindowTranscript:
        texts = expected_words(self._window.samples)
        for number, text in enumerate(texts):
            if number == len(texts) // 2:
                self._misbehave()
            self._wait_for_word()
            self._listener.on_partial(self._window.index, f" {text}" if number else text, "", _LANGUAGE)
        words = tuple(self._place_word(number, text) for number, text in enumerate(texts))
        if not words:
            return WindowTranscript(())
        timed = words if request.word_timestamps is not WordTimestamps.NONE else ()
        segment = Segment(words[0].start_s, words[-1].end_s, " ".join(texts), _LANGUAGE, timed)
        return WindowTranscript((segment,))

    def _place_word(self, second: int, text: str) -> Word:
        return Word(self._window.to_upload_s(second), self._window.to_upload_s(second + 1), text)

    def _wait_for_word(self) -> None:
        due_at = time.monotonic() + self._second_s
        while True:
            if self._misbehaviour is not Misbehaviour.IGNORE_STOP:
                raise_if_stopped(self._listener)
            left_s = due_at - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _POLL_S))

    def _misbehave(self) -> None:
        match self._misbehaviour:
            case Misbehaviour.DIE_IN_DECODE:
                _die()
            case Misbehaviour.HANG:
                while True:
                    time.sleep(_POLL_S)
            case Misbehaviour.RAISE:
                raise RuntimeError("The scripted engine raises an error, as configured.")
            case Misbehaviour.PRINT_GARBAGE:
                os.write(1, b"\x00garbage\n{" * 1_000)


def expected_words(samples: Samples) -> list[str]:
    """Return the word for each whole second of `samples`, float32 in -1..1 at 16 kHz, shape (n,).

    The CRC-32 of a second, over its samples as 16-bit little-endian integers, selects its word.
    """
    integers = np.clip(np.round(samples * _INT16_SCALE), -_INT16_SCALE, _INT16_SCALE - 1).astype("<i2")
    starts = range(0, len(integers) - SAMPLE_RATE_HZ + 1, SAMPLE_RATE_HZ)
    seconds = (integers[start : start + SAMPLE_RATE_HZ].tobytes() for start in starts)
    return [WORDS[zlib.crc32(second) % len(WORDS)] for second in seconds]


def _override(behaviour: Behaviour, context: str | None) -> Behaviour:
    """Return `behaviour` with the fields of `context`; a context that is not a JSON object changes nothing.

    Raises:
        msgspec.ValidationError: the object has a field or a value that `Behaviour` does not allow.
    """
    try:
        fields = msgspec.json.decode(context or "{}", type=dict[str, object])
    except msgspec.DecodeError:
        return behaviour
    return msgspec.convert(msgspec.structs.asdict(behaviour) | fields, Behaviour)


def _due_misbehaviour(behaviour: Behaviour, window: int) -> Misbehaviour:
    if behaviour.misbehaviour is Misbehaviour.NONE or behaviour.window not in (None, window):
        return Misbehaviour.NONE
    if behaviour.marker is not None:
        try:
            Path(behaviour.marker).touch(exist_ok=False)
        except FileExistsError:
            return Misbehaviour.NONE
    return behaviour.misbehaviour


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
