"""The texts of rows while they are decoded: partials meanwhile, and the parts of each row in the end."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from shared.jobs import TranscriptionRequest
from shared.transcripts import join_texts
from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import Row, RowFailure, RowStopped
from worker.engines.qwen3.language_regions import CutWindows
from worker.engines.qwen3.sequence import SequenceState
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.engines.qwen3.transcripts import DecodedPart

_CODES = {name.lower(): code for code, name in QWEN3_LANGUAGE_NAMES.items()}


class RowDecoding:
    """A row in decoding: the texts of the parts of its window, and what is published of them.

    `spoken` is its request with the language of this window, if the client named several.
    """

    def __init__(
        self,
        row: Row,
        cut: CutWindows,
        decode: Callable[[list[int]], str],
        rules: SequenceRules,
        spoken: TranscriptionRequest | None = None,
    ) -> None:
        decoded = msgspec.structs.replace(row, request=spoken or row.request)
        self.row = row
        self.warnings = cut.warnings
        self.sequences = [
            SequenceState(msgspec.structs.replace(decoded, window=part), decode=decode, rules=rules)
            for part in cut.parts
        ]
        self.published = ""  # all deltas
        self.tail = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the text is complete."""
        return all(sequence.is_accepted for sequence in self.sequences)


class DoneRow(NamedTuple):
    """The end of a row in decoding: the texts of its parts in order, or the reason why there are none."""

    row: RowDecoding
    found: list[DecodedPart] | RowFailure | RowStopped


class JobDecoding:
    """The rows of one job in decoding, in order. `first` is the first of them."""

    def __init__(self, first: Row) -> None:
        self.rows: deque[RowDecoding] = deque()
        self.failure: RowFailure | None = None
        self._listener = first.listener
        self._hint = first.request.language_hint
        self._language = first.previous_language  # of the text before the rows
        self._is_stopped = False

    @property
    def is_over(self) -> bool:
        """Whether the job needs no more tokens: it has failed, or was stopped at the last check."""
        return self.failure is not None or self._is_stopped

    def check_stop(self) -> None:
        """Look once whether the listener requests a stop."""
        self._is_stopped = self._is_stopped or self._listener.is_stopped()

    def publish(self) -> None:
        """Publish new text. Text after a sequence that is not accepted yet is only a tail.

        A delta belongs to the end of the transcript so far, so all text before it must be complete. A row
        that is not complete gets no delta while the rows before it are here: with each finished window, the
        partials of all windows are dropped.
        """
        is_final = True
        for row, parts in self._read_rows():
            is_final = row is self.rows[0] or (is_final and row.is_accepted)
            texts, final = [], []
            for sequence, language in parts:
                texts.append((sequence.text, language))
                final.append((sequence.released if is_final else "", language))
                is_final = is_final and sequence.is_accepted
            released = join_texts(final)
            delta, tail = released[len(row.published) :], join_texts(texts)[len(released) :]
            if delta or tail != row.tail:
                first_language = next((language for text, language in final if text), None)
                self._listener.on_partial(row.row.window.index, delta, tail, first_language)
                row.published, row.tail = released, tail

    def take_done(self) -> list[DoneRow]:
        """Remove and return the first rows whose text is complete, or all rows of a job that is over."""
        if self.is_over:
            over, self.rows = self.rows, deque()
            return [DoneRow(row, self.failure or RowStopped()) for row in over]
        done = []
        for row, parts in self._read_rows():
            if not row.is_accepted:
                break
            found = [_describe_part(*part) for part in parts]
            done.append(DoneRow(row, found))
            self._language = next((part.language for part in reversed(found) if part.text), self._language)
        for _ in done:
            self.rows.popleft()
        for row in self.rows if done else ():
            row.tail = ""  # it is dropped with the finished window, and published again
        return done

    def _read_rows(self) -> Iterator[tuple[RowDecoding, list[tuple[SequenceState, str | None]]]]:
        """Yield the sequences of each row, each with its language, or that of the text before it."""
        previous = self._language
        for row in self.rows:
            parts = []
            for sequence in row.sequences:
                language = self._hint or language_code(sequence.language) or previous
                parts.append((sequence, language))
                previous = language if sequence.text else previous
            yield row, parts


def _describe_part(sequence: SequenceState, language: str | None) -> DecodedPart:
    return DecodedPart(
        sequence.window,
        sequence.text,
        language,
        tuple(sequence.faults),
        token_counts=sequence.token_counts,
    )


def language_code(name: str | None) -> str | None:
    """Return the ISO code of a language by Qwen's name, or None if the model has no such language."""
    return _CODES.get(name.strip().lower()) if name else None
