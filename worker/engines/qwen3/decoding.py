"""A batch of windows through Qwen3-ASR: generations and their repairs, and what is told meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import Protocol

from shared.jobs import TranscriptionRequest
from shared.transcripts import TokenCounts, join_texts
from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import DecodingListener, DecodingStopped, Window
from worker.engines.qwen3.parts import DecodedPart
from worker.engines.qwen3.row import Prompt, Row, RowRules
from worker.engines.qwen3.text import clean_context

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
        self,
        prompts: Sequence[Prompt],
        follow: FollowTokens,
        *,
        max_new_tokens: int,
        avoid_repeats: bool,
        temperature: float = 0.0,
    ) -> Sequence[TokenCounts | None]:
        """Continue all `prompts` at once, telling `follow` each step, until no row needs more tokens.

        Answers how many tokens of text and audio each prompt has, None where that is not known.

        With a `temperature` of 0 the likeliest tokens are taken, with a higher one they are drawn.

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
        self._temperature = request.temperature or 0.0
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
        # Parts of windows are decoded by as many at once as there are windows, which take at least as much.
        self._most_rows = len({window.index for window in windows})
        self._told = {window.index: ("", "") for window in windows}  # the deltas so far, the last tail
        self._previous_language: str | None = None

    def decode(self, *, previous_language: str | None) -> list[DecodedPart]:
        """What was said in each window, in order; `previous_language` is for text whose own nobody knows.

        Raises:
            DecodingStopped: the listener said stop.
            OutOfDeviceMemory: not even half of the windows fit.
        """
        self._previous_language = previous_language
        while open_rows := [row for row in self._rows if not row.is_accepted]:
            open_rows.sort(key=_avoids_repeats)
            for _, rows in groupby(open_rows, key=_avoids_repeats):
                while some := list(islice(rows, self._most_rows)):
                    self._generate_or_halve(some)
            self._tell()
        return [
            DecodedPart(row.window, row.text, language, tuple(row.faults), token_counts=row.token_counts)
            for row, language in zip(self._rows, self._find_languages(), strict=True)
        ]

    def _find_languages(self) -> Iterator[str | None]:
        """The language of each row; of one that has none of its own, that of the text before it."""
        previous = self._previous_language
        for row in self._rows:
            language = self._hint or language_code(row.language) or previous
            yield language
            previous = language if row.text else previous

    def _generate_or_halve(self, rows: Sequence[Row]) -> None:
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

    def _generate(self, rows: Sequence[Row]) -> None:
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
        inputs = self._generator.generate(
            [row.prompt for row in rows],
            follow,
            max_new_tokens=max(row.budget for row in rows),
            avoid_repeats=rows[0].avoids_repeats,
            temperature=self._temperature,
        )
        for row, counts in zip(rows, inputs, strict=True):
            row.note_input(counts)
            row.settle()

    def _stop_if_told(self) -> None:
        if self._listener.is_stopped():
            raise DecodingStopped

    def _tell(self) -> None:
        """Tell what is new; of what is behind a row that is still open, nothing is final yet."""
        is_first_open = True
        pairs = zip(self._rows, self._find_languages(), strict=True)
        for index, parts in groupby(pairs, key=lambda pair: pair[0].window.index):
            texts, final = [], []
            for row, language in parts:
                texts.append((row.text, language))
                final.append((row.released if is_first_open else "", language))
                is_first_open = is_first_open and row.is_accepted
            told, last_tail = self._told[index]
            released = join_texts(final)
            delta, tail = released[len(told) :], join_texts(texts)[len(released) :]
            if delta or tail != last_tail:
                begins_in = next((language for text, language in final if text), None)
                self._listener.on_partial(index, delta, tail, begins_in)
                self._told[index] = (released, tail)


def language_code(name: str | None) -> str | None:
    """The ISO code of a language that Qwen names; None where it is none of its own."""
    return _CODES.get(name.strip().lower()) if name else None


def _avoids_repeats(row: Row) -> bool:
    return row.avoids_repeats
