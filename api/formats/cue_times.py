"""Times for the pieces of a segment's text: from its word timestamps, otherwise estimated."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

import msgspec

from api.formats.cue_text import Unit
from shared.text.letters import Spelling, match_letters
from shared.transcripts import Segment, Word

# The comparison takes quadratic time. 30 s of speech have some hundred letters.
_MAX_COMPARED_LETTERS = 2000


class TimedUnit(msgspec.Struct, frozen=True):
    """A unit with its times in seconds from the start of the upload."""

    unit: Unit
    start_s: float
    end_s: float


def time_units(units: Sequence[Unit], segment: Segment) -> list[TimedUnit]:
    """Return the units of the segment's text with ascending, disjoint times within the segment.

    Units and words are compared by letters and digits, because words may lack punctuation, be spelled
    differently or be missing. Units without a word share the time between their neighbours by width. Without
    any word this is an estimate that assumes an even speaking rate.
    """
    matched = _match_words(units, segment.words)
    timed: list[TimedUnit] = []
    for is_matched, group in groupby(enumerate(units), key=lambda entry: entry[0] in matched):
        run = list(group)
        if is_matched:
            timed += [TimedUnit(unit, *matched[index]) for index, unit in run]
        else:
            start_s = timed[-1].end_s if timed else segment.start_s
            end_s = matched.get(run[-1][0] + 1, (segment.end_s,))[0]
            timed += _share_time([unit for _, unit in run], start_s, end_s)
    return _in_order(timed, segment)


def _match_words(units: Sequence[Unit], words: Sequence[Word]) -> dict[int, tuple[float, float]]:
    """Return start and end, in seconds, of the units that match words, by index."""
    written = Spelling([unit.text for unit in units])
    spoken = Spelling([word.text for word in words])
    matched: dict[int, tuple[float, float]] = {}
    for match in match_letters(written.letters, spoken.letters, max_letters=_MAX_COMPARED_LETTERS):
        to_words = match.right - match.left
        for index, first, last in written.split(match.left, match.left + match.length):
            start_s, _ = _time_letter(first + to_words, spoken, words)
            _, end_s = _time_letter(last + to_words, spoken, words)
            # An earlier match of the same unit has set its start.
            matched[index] = (matched.get(index, (start_s,))[0], end_s)
    return matched


def _time_letter(position: int, spoken: Spelling, words: Sequence[Word]) -> tuple[float, float]:
    """Return start and end of the letter at `position`: its share of its word's time."""
    index = spoken.find(position)
    start, end = spoken.bounds(index)
    word, order = words[index], position - start
    share_s = (word.end_s - word.start_s) / (end - start)
    return word.start_s + order * share_s, word.start_s + (order + 1) * share_s


def _share_time(units: Sequence[Unit], start_s: float, end_s: float) -> Iterator[TimedUnit]:
    """Yield the units one after the other from `start_s` to `end_s`, by their widths."""
    widths = [max(1, unit.width) for unit in units]
    share_s = max(0.0, end_s - start_s) / sum(widths)
    before = 0
    for unit, width in zip(units, widths, strict=True):
        yield TimedUnit(unit, start_s + before * share_s, start_s + (before + width) * share_s)
        before += width


def _in_order(timed: Sequence[TimedUnit], segment: Segment) -> list[TimedUnit]:
    """Return the units within the segment, with ascending starts and ends before the next start."""
    until_s = max(segment.start_s, segment.end_s)
    latest_s = accumulate((entry.start_s for entry in timed), max, initial=segment.start_s)
    starts_s = [min(start_s, until_s) for start_s in latest_s][1:]
    return [
        TimedUnit(entry.unit, start_s, min(max(entry.end_s, start_s), limit_s))
        for entry, start_s, limit_s in zip(timed, starts_s, [*starts_s[1:], until_s], strict=False)
    ]
