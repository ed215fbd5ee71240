"""Word timestamps: which texts get them, and words made from the units of the aligner.

Words are slices of the text. The aligner drops punctuation, and its tokenizers fold width and case. So its
units only decide where the text is cut, and no letter of it can get lost.
"""

import unicodedata
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Protocol

import msgspec
import structlog

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.languages import language_name
from shared.text.letters import Spelling, carry_positions
from shared.transcripts import Word
from worker.engines.protocol import (
    DecodingListener,
    ModelUnavailable,
    Samples,
    Window,
    WordsUnsupported,
    raise_if_stopped,
)
from worker.engines.qwen3.token_generator import OutOfDeviceMemory
from worker.engines.qwen3.transcripts import DecodedPart, find_bounds_s

_MIN_WORD_S = 0.02

_logger = structlog.get_logger(__name__)


class AlignedUnit(msgspec.Struct, frozen=True):
    """A word or a character in the aligner's spelling, and its times in seconds of the window."""

    text: str
    start_s: float
    end_s: float


class Aligner(Protocol):
    """A model that finds the times of words; see `worker.engines.qwen3.aligner.Qwen3Aligner`."""

    def align(
        self, samples: Samples, text: str, language: str, is_stopped: Callable[[], bool]
    ) -> list[AlignedUnit]:
        """Return the words of `text`, without its punctuation, and their times.

        Raises:
            DecodingStopped: `is_stopped` returned true, which is asked during long work.
        """


class WordTimer:
    """The source of word timestamps in some languages; `load` loads the aligner at its first use."""

    def __init__(self, load: Callable[[], Aligner], languages: Collection[str]) -> None:
        self._load = load
        self._languages = languages
        self._aligner: Aligner | None = None
        self._is_missing = False  # after a failure only a request that requires it loads it again

    def add_words(
        self, parts: Sequence[DecodedPart], request: TranscriptionRequest, listener: DecodingListener
    ) -> list[DecodedPart]:
        """Return the `parts` with words, as far as the request wants them.

        Raises:
            DecodingStopped: the listener requested a stop.
            WordsUnsupported: words are required, and a part is in a language that has none.
            ModelUnavailable: words are required, and the aligner cannot be loaded.
            OutOfDeviceMemory: words are required, and the device has too little memory.
        """
        match request.word_timestamps:
            case WordTimestamps.NONE:
                return list(parts)
            case WordTimestamps.WELCOME:
                return [self._align_if_possible(part, listener) for part in parts]
            case WordTimestamps.REQUIRED:
                self._check_languages(parts)
                return [self._align(part, listener) if is_spoken(part.text) else part for part in parts]

    def _align_if_possible(self, part: DecodedPart, listener: DecodingListener) -> DecodedPart:
        if self._is_missing or part.language not in self._languages or not is_spoken(part.text):
            return part
        try:
            return self._align(part, listener)
        except ModelUnavailable as error:
            self._is_missing = self._aligner is None
            _logger.warning("words_left_out", reason=str(error))
        except OutOfDeviceMemory as error:
            _logger.warning("words_left_out", reason=str(error))
        return part

    def _align(self, part: DecodedPart, listener: DecodingListener) -> DecodedPart:
        raise_if_stopped(listener)
        language = part.language or ""  # callers have checked that there is one
        aligner = self._find_aligner()
        units = aligner.align(part.window.samples, part.text, language, listener.is_stopped)
        return msgspec.structs.replace(part, words=make_words(part.window, part.text, units))

    def _find_aligner(self) -> Aligner:
        if self._aligner is None:
            self._aligner = self._load()
            self._is_missing = False
        return self._aligner

    def _check_languages(self, parts: Sequence[DecodedPart]) -> None:
        for part in parts:
            if is_spoken(part.text) and part.language not in self._languages:
                start_s, end_s = find_bounds_s(part.window)
                language = language_name(part.language) if part.language else "an unrecognised language"
                raise WordsUnsupported(
                    f"The speech from {start_s:.2f} s to {end_s:.2f} s is in {language}, which has no word "
                    "timestamps here. Request none, or name the language if it was detected wrongly."
                )


def make_words(window: Window, text: str, units: Sequence[AlignedUnit]) -> tuple[Word, ...]:
    """Return the words of the `text` of `window`, spelled as in the text but without punctuation."""
    slices = find_words(text, [unit.text for unit in units])
    found = [(spelled, unit) for spelled, unit in zip(slices, units, strict=True) if spelled is not None]
    times = spread_times(
        [(unit.start_s, unit.end_s) for _, unit in found], limit_s=len(window.samples) / SAMPLE_RATE_HZ
    )
    placed = [window.to_upload_interval_s(start_s, end_s) for start_s, end_s in times]
    return tuple(
        Word(round(start_s, 3), round(end_s, 3), text[spelled])
        for (spelled, _), (start_s, end_s) in zip(found, placed, strict=True)
    )


def is_spoken(text: str) -> bool:
    """Return whether `text` has more than punctuation."""
    return any(map(str.isalnum, text))


def find_words(text: str, units: Sequence[str]) -> list[slice | None]:
    """Return the slice of `text` for each unit, in order; None for units of punctuation alone.

    The tokenizers of the aligner may spell differently from `text`. Every letter and digit of `text` is in
    one of the slices, whatever the units are, as long as one unit has any.
    """
    spoken = [place for place, character in enumerate(text) if character.isalnum()]
    spelled, aligned = Spelling([text[place] for place in spoken]), Spelling(units)
    borders = carry_positions(aligned.letters, spelled.letters, aligned.ends)
    numbers = [0, *map(spelled.find, borders)]
    if aligned.letters:
        # The last unit with letters takes the rest of the text. Later units, without letters, get nothing.
        last = aligned.find(len(aligned.letters) - 1) + 1
        numbers[last:] = [len(spoken)] * (len(numbers) - last)
    return [_slice_with_marks(text, spoken[first:after]) for first, after in pairwise(numbers)]


def spread_times(times: Sequence[tuple[float, float]], *, limit_s: float) -> list[tuple[float, float]]:
    """Return the `times` in order, inside 0..`limit_s`, and none shorter than 20 ms if there is room.

    The aligner counts in steps of 80 ms. So short words may have no length, or share a moment.
    """
    min_s = min(_MIN_WORD_S, limit_s / max(1, len(times)))
    pushed: list[tuple[float, float]] = []
    floor_s = 0.0
    for start_s, end_s in times:
        begin_s = max(floor_s, start_s)
        floor_s = max(begin_s + min_s, end_s)
        pushed.append((begin_s, floor_s))
    held: list[tuple[float, float]] = []
    ceiling_s = limit_s
    for start_s, end_s in reversed(pushed):
        stop_s = min(ceiling_s, end_s)
        ceiling_s = max(0.0, min(start_s, stop_s - min_s))
        held.append((ceiling_s, stop_s))
    return held[::-1]


def _slice_with_marks(text: str, spoken: Sequence[int]) -> slice | None:
    """Return the slice of `text` over the places `spoken`, with the combining marks after the last one."""
    if not spoken:
        return None
    end = spoken[-1] + 1
    while end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return slice(spoken[0], end)
