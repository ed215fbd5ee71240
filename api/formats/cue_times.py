"""When each piece of a segment's text is spoken: as its words tell, otherwise an estimate."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate, groupby

import msgspec

from api.formats.cue_text import Unit
from shared.transcripts import Segment, Word

# Comparing letters that repeat takes time by the square of their number; 30 s of speech have hundreds.
_MOST_COMPARED_LETTERS = 2000


class TimedUnit(msgspec.Struct, frozen=True):
    """A unit, and when it is spoken; in seconds from the start of the upload."""

    unit: Unit
    start_s: float
    end_s: float


class _Letter(msgspec.Struct, frozen=True):
    letter: str
    start_s: float
    end_s: float


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
    written = [(letter, index) for index, unit in enumerate(units) for letter in _letters(unit.text)]
    spoken = [letter for word in words for letter in _timed_letters(word)]
    heard: dict[int, tuple[float, float]] = {}
    for in_text, in_words, size in _matching_blocks(
        "".join(letter for letter, _ in written), "".join(letter.letter for letter in spoken)
    ):
        for offset in range(size):
            index, letter = written[in_text + offset][1], spoken[in_words + offset]
            start_s, _ = heard.get(index, (letter.start_s, 0))
            heard[index] = (start_s, letter.end_s)
    return heard


def _matching_blocks(text: str, words: str) -> list[tuple[int, int, int]]:
    """Where the letters of both agree: (start in `text`, start in `words`, length)."""
    if text == words:  # nearly always
        return [(0, 0, len(text))]
    if max(len(text), len(words)) > _MOST_COMPARED_LETTERS:
        return []
    matcher = SequenceMatcher(None, text, words, autojunk=False)
    return [(block.a, block.b, block.size) for block in matcher.get_matching_blocks()]


def _timed_letters(word: Word) -> Iterator[_Letter]:
    """The letters of a word, each with its share of the word's time."""
    letters = _letters(word.text)
    share_s = (word.end_s - word.start_s) / max(1, len(letters))
    for order, letter in enumerate(letters):
        yield _Letter(letter, word.start_s + order * share_s, word.start_s + (order + 1) * share_s)


def _letters(text: str) -> list[str]:
    return [character for character in text.casefold() if character.isalnum()]


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
