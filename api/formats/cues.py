"""Transcripts cut into cues: the text on the screen at once, with its start and end."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from api.formats.cue_text import Break, Unit, join_units, split_units, width_of
from api.formats.cue_times import TimedUnit, time_units
from shared.transcripts import Segment, Transcript

# Limits that make cues readable, as is usual for subtitles in many languages.
MAX_LINE_CHARACTERS = 42  # Latin characters; a wide one counts as two
MAX_LINES = 2
MAX_DURATION_S = 7.0
# Shorter cues only flash. The next cue waits for this duration if necessary.
MIN_DURATION_S = 0.5
# Before a silence, a cue stays this long, and long enough to be read at this speed.
COMFORTABLE_DURATION_S = 1.0
MAX_CHARACTERS_PER_S = 20.0
# A cue contains no longer silence between two words.
MAX_PAUSE_S = 2.0


class Cue(msgspec.Struct, frozen=True):
    """Lines of text with their start and end in milliseconds from the start of the upload."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


class _Draft(msgspec.Struct, frozen=True):
    start_ms: int
    end_ms: int
    units: tuple[Unit, ...]


# From a start index: the possible end indices of a part, each with its cost.
_PossibleParts = Callable[[int], Iterator[tuple[int, float]]]

_Entry = TypeVar("_Entry")

# These add to the cost of each `Break`. More lines than needed never pay.
_COST_OF_CUE = 1.0
_COST_OF_LINE = 100.0
_COST_OF_UNEVEN_LINES = 4.0

# A pause between words counts like a comma.
_CLAUSE_PAUSE_S = 0.4


def cut_cues(transcript: Transcript) -> list[Cue]:
    """Cut a transcript into cues in order, none empty and none overlapping another.

    The cues contain the whole text once and in order, for any segment times. Where the times leave no room,
    cues are joined or wait for the previous one. No cue ends after the upload.
    """
    drafts = [draft for segment in transcript.segments for draft in _cut_segment(segment)]
    duration_ms = to_ms(transcript.duration_s)
    placed = _end_by(_place(drafts), duration_ms)
    return [
        Cue(draft.start_ms, end_ms, _break_lines(draft.units))
        for draft, end_ms in zip(placed, _extend_ends(placed, duration_ms), strict=True)
    ]


def to_ms(seconds: float) -> int:
    """Convert seconds to whole milliseconds."""
    return round(seconds * 1000)


def _cut_segment(segment: Segment) -> Iterator[_Draft]:
    units = split_units(segment.text, max_width=MAX_LINE_CHARACTERS, language=segment.language)
    timed = time_units(units, segment)
    costs = [_cost_of_break(timed, end) for end in range(1, len(timed) + 1)]
    for part in _cut_cheapest(timed, lambda start: _possible_cues(timed, costs, start)):
        start_ms = max(0, to_ms(part[0].start_s))
        end_ms = min(max(start_ms, to_ms(part[-1].end_s)), start_ms + to_ms(MAX_DURATION_S))
        yield _Draft(start_ms, end_ms, tuple(entry.unit for entry in part))


def _possible_cues(
    timed: Sequence[TimedUnit], break_costs: Sequence[float], start: int
) -> Iterator[tuple[int, float]]:
    """Yield the end index and the cost of each cue that may begin at `start`."""
    room = MAX_LINE_CHARACTERS * MAX_LINES
    # Each unit has at least one character, except units without a width.
    candidates = timed[start : start + room]
    lines = _count_lines(entry.unit for entry in candidates)
    width = 0
    for end, (entry, line_count) in enumerate(zip(candidates, lines, strict=True), start + 1):
        if line_count > MAX_LINES or (end > start + 1 and not _may_stand_together(timed, start, end)):
            return
        width += entry.unit.width + entry.unit.is_spaced
        yield end, _COST_OF_CUE + break_costs[end - 1] + (1 - min(1, width / room)) ** 2


def _may_stand_together(timed: Sequence[TimedUnit], start: int, end: int) -> bool:
    last = timed[end - 1]
    return (
        last.end_s - timed[start].start_s <= MAX_DURATION_S
        and last.start_s - timed[end - 2].end_s <= MAX_PAUSE_S
    )


def _cost_of_break(timed: Sequence[TimedUnit], end: int) -> float:
    if end == len(timed):
        return 0.0
    last = timed[end - 1]
    is_pause = timed[end].start_s - last.end_s >= _CLAUSE_PAUSE_S
    return min(last.unit.break_after, Break.CLAUSE) if is_pause else last.unit.break_after


def _place(drafts: Sequence[_Draft]) -> list[_Draft]:
    """Place the drafts one after the other, each with at least the minimum duration."""
    placed: list[_Draft] = []
    for draft, following in zip(drafts, [*drafts[1:], None], strict=False):
        start_ms = max(draft.start_ms, placed[-1].end_ms if placed else 0)
        min_end_ms = start_ms + to_ms(MIN_DURATION_S)
        next_ms = _next_start_ms(draft, following)
        end_ms = int(min(draft.end_ms, next_ms))
        if placed and next_ms < min_end_ms and _are_joinable(placed[-1], draft, end_ms):
            units = (*placed[-1].units, *draft.units)
            placed[-1] = _Draft(placed[-1].start_ms, max(placed[-1].end_ms, end_ms), units)
        else:
            placed.append(_Draft(start_ms, max(min_end_ms, end_ms), draft.units))
    return placed


def _next_start_ms(draft: _Draft, following: _Draft | None) -> float:
    """Return the start of the following cue, or infinity if it is out of order and has to wait."""
    if following is None or following.start_ms < draft.start_ms:
        return math.inf
    return following.start_ms


def _are_joinable(before: _Draft, after: _Draft, end_ms: int) -> bool:
    """Return whether both together are one readable cue."""
    *_, lines = _count_lines((*before.units, *after.units))
    return (
        lines <= MAX_LINES
        and end_ms - before.start_ms <= to_ms(MAX_DURATION_S)
        and after.start_ms - before.end_ms <= to_ms(MAX_PAUSE_S)
    )


def _end_by(placed: Sequence[_Draft], duration_ms: int) -> list[_Draft]:
    """Return the drafts with no end after `duration_ms`. The last ones begin earlier if they need room."""
    limit_ms = max(duration_ms, len(placed))
    least_ms = min(to_ms(MIN_DURATION_S), limit_ms // max(1, len(placed)))
    held: list[_Draft] = []
    for draft in reversed(placed):
        end_ms = min(draft.end_ms, limit_ms)
        limit_ms = min(draft.start_ms, end_ms - least_ms)
        held.append(_Draft(limit_ms, end_ms, draft.units))
    return held[::-1]


def _extend_ends(placed: Sequence[_Draft], duration_ms: int) -> Iterator[int]:
    """Yield the ends of the drafts, extended into the following silence to allow reading."""
    for draft, following in zip(placed, [*placed[1:], None], strict=False):
        width = width_of(join_units(draft.units))
        comfortable_s = max(COMFORTABLE_DURATION_S, width / MAX_CHARACTERS_PER_S)
        wanted_ms = draft.start_ms + to_ms(min(comfortable_s, MAX_DURATION_S))
        limit_ms = following.start_ms if following else duration_ms
        yield max(draft.end_ms, min(wanted_ms, limit_ms))


def _cut_cheapest(entries: Sequence[_Entry], possible_parts: _PossibleParts) -> list[Sequence[_Entry]]:
    """Cut `entries` into parts with the least total cost; each entry must be a possible part."""
    costs = [0.0] + [math.inf] * len(entries)
    starts = [0] * len(costs)
    for start in range(len(entries)):
        for end, cost in possible_parts(start):
            if costs[start] + cost < costs[end]:
                costs[end], starts[end] = costs[start] + cost, start
    parts: list[Sequence[_Entry]] = []
    end = len(entries)
    while end:
        parts.append(entries[starts[end] : end])
        end = starts[end]
    return parts[::-1]


def _count_lines(units: Iterable[Unit]) -> Iterator[int]:
    """Yield for each unit the number of lines that the units up to it need."""
    lines, width = 0, MAX_LINE_CHARACTERS
    for unit in units:
        width += unit.width + unit.is_spaced
        if width > MAX_LINE_CHARACTERS or not lines:
            lines, width = lines + 1, unit.width
        yield lines


def _break_lines(units: Sequence[Unit]) -> tuple[str, ...]:
    """Break the units into as few lines as possible, at marks or else into lines of similar length."""
    parts = _cut_cheapest(units, lambda start: _possible_lines(units, start))
    return tuple(join_units(part) for part in parts)


def _possible_lines(units: Sequence[Unit], start: int) -> Iterator[tuple[int, float]]:
    width = -units[start].is_spaced
    for end, unit in enumerate(units[start:], start + 1):
        width += unit.width + unit.is_spaced
        if width > MAX_LINE_CHARACTERS:
            return
        break_cost = unit.break_after if end < len(units) else 0.0
        yield end, _COST_OF_LINE + break_cost + _COST_OF_UNEVEN_LINES * (1 - width / MAX_LINE_CHARACTERS) ** 2
