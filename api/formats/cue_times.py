"""When each piece of a segment's text is spoken: as its words tell, otherwise an estimate."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate, groupby

import msgspec

from api.formats.cue_text import Unit
from shared.transcripts import Segment, Word

# Comparing letters that repeat takes time by the square of their number; 30 s of speech have hundreds.
_MAX_COMPARED_LETTERS = 2000


class TimedUnit(msgspec.Struct, frozen=True):
    """A unit, and when it is spoken; in seconds from the start of the upload."""

    unit: Unit
    start_s: float
    end_s: float


class _Spelling:
    """The letters and digits of texts that follow each other, and to which of these each letter belongs."""

    def __init__(self, texts: Sequence[str]) -> None:
        spelled = [_letters(text) for text in texts]
        self.letters = "".join(spelled)
        self._ends = list(accumulate(map(len, spelled)))

    def find(self, position: int) -> int:
        """The index of the text that the letter at `position` belongs to."""
        return bisect_right(self._ends, position)

    def bounds(self, index: int) -> tuple[int, int]:
        """Where the letters of a text begin, and where they end."""
        return self._ends[index - 1] if index else 0, self._ends[index]

    def split(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The letters from `start` to `end` by text: its index, the first position and the last."""
        while start < end:
            index = self.find(start)
            behind = min(end, self._ends[index])
            yield index, start, behind - 1
            start = behind


def time_units(units: Sequence[Unit], segment: Segment) -> list[TimedUnit]:
    """The units of the segment's text with their times: within the segment, in order, none over another.

    Words may lack the punctuation of the text, be spelled otherwise or be missing, so letters and digits are
    what the two are compared by. Units that no word is found for share the time between their neighbours by
    their widths, which without any words is an estimate: it takes people to speak evenly.
    """
    heard = _match_words(units, segment.words)
    timed: list[TimedUnit] = []
    for is_heard, group in groupby(enumerate(units), key=lambda entry: entry[0] in heard):
        run = list(group)
        if is_heard:
            timed += [TimedUnit(unit, *heard[index]) for index, unit in run]
        else:
            start_s = timed[-1].end_s if timed else segment.start_s
            end_s = heard.get(run[-1][0] + 1, (segment.end_s,))[0]
            timed += _share_time([unit for _, unit in run], start_s, end_s)
    return _in_order(timed, segment)


def _match_words(units: Sequence[Unit], words: Sequence[Word]) -> dict[int, tuple[float, float]]:
    """Start and end of the units, by index, that words are found for."""
    written = _Spelling([unit.text for unit in units])
    spoken = _Spelling([word.text for word in words])
    heard: dict[int, tuple[float, float]] = {}
    for in_text, in_words, size in _matching_blocks(written.letters, spoken.letters):
        to_words = in_words - in_text
        for index, first, last in written.split(in_text, in_text + size):
            start_s, _ = _time_letter(first + to_words, spoken, words)
            _, end_s = _time_letter(last + to_words, spoken, words)
            # What was found of a unit before, by another block, is its beginning.
            heard[index] = (heard.get(index, (start_s,))[0], end_s)
    return heard


def _time_letter(position: int, spoken: _Spelling, words: Sequence[Word]) -> tuple[float, float]:
    """When the letter at `position` is spoken: its share of the time of its word."""
    index = spoken.find(position)
    start, end = spoken.bounds(index)
    word, order = words[index], position - start
    share_s = (word.end_s - word.start_s) / (end - start)
    return word.start_s + order * share_s, word.start_s + (order + 1) * share_s


def _matching_blocks(text: str, words: str) -> list[tuple[int, int, int]]:
    """Where the letters of both agree: (start in `text`, start in `words`, length)."""
    if text == words:  # nearly always
        return [(0, 0, len(text))]
    if max(len(text), len(words)) > _MAX_COMPARED_LETTERS:
        return []
    matcher = SequenceMatcher(None, text, words, autojunk=False)
    return [(block.a, block.b, block.size) for block in matcher.get_matching_blocks()]


def _letters(text: str) -> str:
    folded = text.casefold()
    return folded if folded.isalnum() else "".join(filter(str.isalnum, folded))


def _share_time(units: Sequence[Unit], start_s: float, end_s: float) -> Iterator[TimedUnit]:
    """The units, one behind the other from `start_s` to `end_s`."""
    widths = [max(1, unit.width) for unit in units]
    share_s = max(0.0, end_s - start_s) / sum(widths)
    before = 0
    for unit, width in zip(units, widths, strict=True):
        yield TimedUnit(unit, start_s + before * share_s, start_s + (before + width) * share_s)
        before += width


def _in_order(timed: Sequence[TimedUnit], segment: Segment) -> list[TimedUnit]:
    """The same with starts that never go back, ends that reach no next start, and all within the segment."""
    until_s = max(segment.start_s, segment.end_s)
    latest_s = accumulate((entry.start_s for entry in timed), max, initial=segment.start_s)
    starts_s = [min(start_s, until_s) for start_s in latest_s][1:]
    return [
        TimedUnit(entry.unit, start_s, min(max(entry.end_s, start_s), limit_s))
        for entry, start_s, limit_s in zip(timed, starts_s, [*starts_s[1:], until_s], strict=False)
    ]
