"""A batch of windows through Qwen3-ASR: generations and their repairs, and what is told meanwhile."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

from shared.jobs import TranscriptionRequest
from worker.engines.catalogue import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import DecodingListener, DecodingStopped, Window
from worker.engines.qwen3_parts import DecodedPart
from worker.engines.qwen3_row import Prompt, Row, RowRules
from worker.engines.qwen3_text import clean_context

_CODES = {name.lower(): code for code, name in QWEN3_LANGUAGE_NAMES.items()}

FollowTokens = Callable[[Sequence[int]], Sequence[bool]]
"""Told the next token of each row; answers for which rows no more are needed."""


class OutOfDeviceMemory(Exception):
    """Raised by a generator where the device had too little memory for so many rows."""


class TokenGenerator(Protocol):
    """The model, as far as it concerns decoding."""

    def decode_tokens(self, tokens: list[int]) -> str:
        """The text of `tokens`; a character of which bytes are missing is U+FFFD."""

    def generate(
        self, prompts: Sequence[Prompt], follow: FollowTokens, *, max_new_tokens: int, avoid_repeats: bool
    ) -> None:
        """Continue all `prompts` at once, telling `follow` each step, until no row needs more tokens.

        Raises:
            OutOfDeviceMemory: with fewer prompts it may work.
        """


class BatchDecoding:
    """The decoding of some windows of one upload, at once."""

    def __init__(
        self,
        generator: TokenGenerator,
        windows: Sequence[Window],
        request: TranscriptionRequest,
        listener: DecodingListener,
        rules: RowRules,
    ) -> None:
        self._generator = generator
        self._listener = listener
        self._hint = request.language_hint
        forced = QWEN3_LANGUAGE_NAMES[self._hint] if self._hint else None
        self._rows = [
            Row(
                window,
                context=clean_context(request.context),
                language=forced,
                decode=generator.decode_tokens,
                rules=rules,
            )
            for window in windows
        ]
        self._told = [("", "")] * len(self._rows)  # of each row: the deltas so far, the last tail

    def decode(self, *, previous_language: str | None) -> list[DecodedPart]:
        """What was said in each window, in order; `previous_language` is for text whose own nobody knows.

        Raises:
            DecodingStopped: the listener said stop.
            OutOfDeviceMemory: not even half of the windows fit.
        """
        while open_rows := [row for row in self._rows if not row.is_accepted]:
            open_rows.sort(key=_avoids_repeats)
            for _, rows in groupby(open_rows, key=_avoids_repeats):
                self._generate_or_halve(list(rows))
            self._tell()
        parts = []
        for row in self._rows:
            language = self._hint or language_code(row.language) or previous_language
            parts.append(DecodedPart(row.window, row.text, language, tuple(row.faults)))
            previous_language = language if row.text else previous_language
        return parts

    def _generate_or_halve(self, rows: list[Row]) -> None:
        try:
            self._generate(rows)
        except OutOfDeviceMemory:
            middle = len(rows) // 2
            if not middle:
                raise
            for row in rows:
                row.settle()
            for half in (rows[:middle], rows[middle:]):
                self._generate([row for row in half if not row.is_accepted])

    def _generate(self, rows: list[Row]) -> None:
        def follow(tokens: Sequence[int]) -> list[bool]:
            self._stop_if_told()
            for row, token in zip(rows, tokens, strict=True):
                if not row.is_over:
                    row.push(token)
            self._tell()
            return [row.is_over for row in rows]

        self._stop_if_told()
        if not rows:
            return
        self._generator.generate(
            [row.prompt for row in rows],
            follow,
            max_new_tokens=max(row.budget for row in rows),
            avoid_repeats=rows[0].avoids_repeats,
        )
        for row in rows:
            row.settle()

    def _stop_if_told(self) -> None:
        if self._listener.is_stopped():
            raise DecodingStopped

    def _tell(self) -> None:
        """Tell what is new; of a window behind one that is still open, nothing is final yet."""
        is_first_open = True
        for number, row in enumerate(self._rows):
            told, last_tail = self._told[number]
            released = row.released if is_first_open else told
            delta, tail = released[len(told) :], row.text[len(released) :]
            if delta or tail != last_tail:
                self._listener.on_partial(row.window.index, delta, tail)
                self._told[number] = (released, tail)
            is_first_open = is_first_open and row.is_accepted


def language_code(name: str | None) -> str | None:
    """The ISO code of a language that Qwen names; None where it is none of its own."""
    return _CODES.get(name.strip().lower()) if name else None


def _avoids_repeats(row: Row) -> bool:
    return row.avoids_repeats
