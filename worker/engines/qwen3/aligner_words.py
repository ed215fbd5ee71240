"""Words from what the aligner gives: its units found again in the text, its times set in the upload."""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate, pairwise

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import Word
from worker.engines.placement import place_interval
from worker.engines.protocol import Window

_MIN_WORD_S = 0.02


class AlignedUnit(msgspec.Struct, frozen=True):
    """A word or a character as the aligner writes it, and its times in seconds of the window."""

    text: str
    start_s: float
    end_s: float


def make_words(window: Window, text: str, units: Sequence[AlignedUnit]) -> tuple[Word, ...]:
    """The words of `text`, which was said in `window`, as they stand in it but without punctuation."""
    slices = find_words(text, [unit.text for unit in units])
    found = [(spelled, unit) for spelled, unit in zip(slices, units, strict=True) if spelled is not None]
    times = spread_times(
        [(unit.start_s, unit.end_s) for _, unit in found], limit_s=len(window.samples) / SAMPLE_RATE_HZ
    )
    placed = [place_interval(window, start_s, end_s) for start_s, end_s in times]
    return tuple(
        Word(round(start_s, 3), round(end_s, 3), text[spelled])
        for (spelled, _), (start_s, end_s) in zip(found, placed, strict=True)
    )


def is_spoken(text: str) -> bool:
    """Whether anything in `text` is not just punctuation."""
    return any(map(_counts, text))


def find_words(text: str, units: Sequence[str]) -> list[slice | None]:
    """Where in `text` each unit stands, in order; None where it is nothing but punctuation.

    The aligner leaves punctuation out, and its tokenizers may spell otherwise than `text`. Every letter and
    digit of `text` is in one of the slices, whatever the units are, as long as one of them has any.
    """
    spoken = [place for place, character in enumerate(text) if _counts(character)]
    keys = [(_make_key(text[place]), number) for number, place in enumerate(spoken)]
    owners = [number for key, number in keys for _ in key]
    unit_keys = ["".join(map(_make_key, unit)) for unit in units]
    ends = list(accumulate(map(len, unit_keys)))
    borders = _carry_over("".join(unit_keys), "".join(key for key, _ in keys), ends)
    numbers = [0, *(owners[border] if border < len(owners) else len(spoken) for border in borders)]
    if ends and ends[-1]:
        # What the last unit leaves over is its own; units without letters, behind it, get nothing.
        last = bisect_left(ends, ends[-1]) + 1
        numbers[last:] = [len(spoken)] * (len(numbers) - last)
    return [_take(text, spoken[first:behind]) for first, behind in pairwise(numbers)]


def spread_times(times: Sequence[tuple[float, float]], *, limit_s: float) -> list[tuple[float, float]]:
    """The `times` in order, inside 0..`limit_s`, and none shorter than 20 ms where there is room.

    The aligner counts in steps of 80 ms, so that short words have no length or share a moment.
    """
    least_s = min(_MIN_WORD_S, limit_s / max(1, len(times)))
    pushed: list[tuple[float, float]] = []
    floor_s = 0.0
    for start_s, end_s in times:
        begin_s = max(floor_s, start_s)
        floor_s = max(begin_s + least_s, end_s)
        pushed.append((begin_s, floor_s))
    held: list[tuple[float, float]] = []
    ceiling_s = limit_s
    for start_s, end_s in reversed(pushed):
        stop_s = min(ceiling_s, end_s)
        ceiling_s = max(0.0, min(start_s, stop_s - least_s))
        held.append((ceiling_s, stop_s))
    return held[::-1]


def _carry_over(source: str, target: str, places: Sequence[int]) -> Iterator[int]:
    """The place in `target` for each of the `places` in `source`, which grow; equal text meets equal text."""
    if source == target:
        yield from places
        return
    blocks = SequenceMatcher(None, source, target, autojunk=False).get_opcodes()
    for place in places:
        for _, start, end, their_start, their_end in blocks:
            if place <= end:
                share = (place - start) / (end - start) if end > start else 1.0
                yield their_start + round(share * (their_end - their_start))
                break
        else:
            yield len(target)


def _take(text: str, spoken: Sequence[int]) -> slice | None:
    """The slice of `text` from the first to the last of the places `spoken`, with the marks on that one."""
    if not spoken:
        return None
    end = spoken[-1] + 1
    while end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return slice(spoken[0], end)


def _make_key(character: str) -> str:
    """What stays the same of a letter or digit when a tokenizer folds its width or case."""
    folded = unicodedata.normalize("NFKD", character).casefold()
    return "".join(part for part in folded if _counts(part))


def _counts(character: str) -> bool:
    """Whether it is a letter or a digit."""
    return unicodedata.category(character)[0] in "LN"
