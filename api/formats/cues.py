"""Transcripts cut into cues: what stands on the screen at once, and from when to when."""

import math
from collections.abc import Iterator, Sequence

import msgspec

from api.formats.cue_lines import break_lines, count_lines, cut_cheapest
from api.formats.cue_text import Break, Unit, join_units, split_units, width_of
from api.formats.cue_times import TimedUnit, time_units
from shared.transcripts import UNSPACED_LANGUAGES, Segment, Transcript


class CueRules(msgspec.Struct, frozen=True, kw_only=True):
    """What makes cues readable; the defaults are usual for subtitles in many languages."""

    max_line_characters: int = 42  # Latin ones; a wide character counts as two
    max_lines: int = 2
    max_duration_s: float = 7.0
    # Shorter cues only flash: they get this even where the next one has to wait for it.
    min_duration_s: float = 0.5
    # Where silence follows, a cue stands at least so long, and long enough to be read at this speed.
    comfortable_duration_s: float = 1.0
    max_characters_per_s: float = 20.0
    # A cue does not stand over a longer silence between two words.
    max_pause_s: float = 2.0


READABLE = CueRules()


class Cue(msgspec.Struct, frozen=True):
    """Lines of text and when they are shown, in milliseconds from the start of the upload."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


class _Draft(msgspec.Struct, frozen=True):
    start_ms: int
    end_ms: int
    units: tuple[Unit, ...]


# Beside the costs of each `Break`.
_COST_OF_CUE = 1.0

# A pause between words tells as much as a comma.
_CLAUSE_PAUSE_S = 0.4


def cut_cues(transcript: Transcript, rules: CueRules = READABLE) -> list[Cue]:
    """The cues of a transcript, in order, none empty and none over another.

    All of the text is in them, once and in its order, whatever the times of the segments are; where these
    leave no room, cues are joined or wait for the one before.
    """
    drafts = [draft for segment in transcript.segments for draft in _cut_segment(segment, rules)]
    placed = _place(drafts, rules)
    return [
        Cue(draft.start_ms, end_ms, break_lines(draft.units, rules.max_line_characters))
        for draft, end_ms in zip(placed, _stretch(placed, rules, to_ms(transcript.duration_s)), strict=True)
    ]


def to_ms(seconds: float) -> int:
    """Seconds to whole milliseconds."""
    return round(seconds * 1000)


def _cut_segment(segment: Segment, rules: CueRules) -> Iterator[_Draft]:
    units = split_units(
        segment.text,
        max_width=rules.max_line_characters,
        is_spaced=segment.language not in UNSPACED_LANGUAGES,
    )
    timed = time_units(units, segment)
    costs = [_cost_of_break(timed, end) for end in range(1, len(timed) + 1)]
    for part in cut_cheapest(timed, lambda start: _possible_cues(timed, costs, start, rules)):
        start_ms = max(0, to_ms(part[0].start_s))
        end_ms = min(max(start_ms, to_ms(part[-1].end_s)), start_ms + to_ms(rules.max_duration_s))
        yield _Draft(start_ms, end_ms, tuple(entry.unit for entry in part))


def _possible_cues(
    timed: Sequence[TimedUnit], break_costs: Sequence[float], start: int, rules: CueRules
) -> Iterator[tuple[int, float]]:
    """The cues that may begin at `start`: the index behind each, and its cost."""
    room = rules.max_line_characters * rules.max_lines
    # No more units than characters fit, but for those without a width.
    candidates = timed[start : start + room]
    lines = count_lines((entry.unit for entry in candidates), rules.max_line_characters)
    width = 0
    for end, (entry, line_count) in enumerate(zip(candidates, lines, strict=True), start + 1):
        if line_count > rules.max_lines or (
            end > start + 1 and not _may_stand_together(timed, start, end, rules)
        ):
            return
        width += entry.unit.width + entry.unit.is_spaced
        yield end, _COST_OF_CUE + break_costs[end - 1] + (1 - min(1, width / room)) ** 2


def _may_stand_together(timed: Sequence[TimedUnit], start: int, end: int, rules: CueRules) -> bool:
    last = timed[end - 1]
    return (
        last.end_s - timed[start].start_s <= rules.max_duration_s
        and last.start_s - timed[end - 2].end_s <= rules.max_pause_s
    )


def _cost_of_break(timed: Sequence[TimedUnit], end: int) -> float:
    if end == len(timed):
        return 0.0
    last = timed[end - 1]
    is_pause = timed[end].start_s - last.end_s >= _CLAUSE_PAUSE_S
    return min(last.unit.break_after, Break.CLAUSE) if is_pause else last.unit.break_after


def _place(drafts: Sequence[_Draft], rules: CueRules) -> list[_Draft]:
    """The drafts, one behind the other and each with the least duration."""
    placed: list[_Draft] = []
    for draft, following in zip(drafts, [*drafts[1:], None], strict=False):
        start_ms = max(draft.start_ms, placed[-1].end_ms if placed else 0)
        least_end_ms = start_ms + to_ms(rules.min_duration_s)
        next_ms = _next_start_ms(draft, following)
        end_ms = int(min(draft.end_ms, next_ms))
        if placed and next_ms < least_end_ms and _are_joinable(placed[-1], draft, end_ms, rules):
            units = (*placed[-1].units, *draft.units)
            placed[-1] = _Draft(placed[-1].start_ms, max(placed[-1].end_ms, end_ms), units)
        else:
            placed.append(_Draft(start_ms, max(least_end_ms, end_ms), draft.units))
    return placed


def _next_start_ms(draft: _Draft, following: _Draft | None) -> float:
    """When the following cue takes over; one that is out of order waits, and limits nothing."""
    if following is None or following.start_ms < draft.start_ms:
        return math.inf
    return following.start_ms


def _are_joinable(before: _Draft, after: _Draft, end_ms: int, rules: CueRules) -> bool:
    """Whether both would be one readable cue."""
    *_, lines = count_lines((*before.units, *after.units), rules.max_line_characters)
    return (
        lines <= rules.max_lines
        and end_ms - before.start_ms <= to_ms(rules.max_duration_s)
        and after.start_ms - before.end_ms <= to_ms(rules.max_pause_s)
    )


def _stretch(placed: Sequence[_Draft], rules: CueRules, duration_ms: int) -> Iterator[int]:
    """The ends of the drafts, put off into the silence behind them until people have read the text."""
    for draft, following in zip(placed, [*placed[1:], None], strict=False):
        width = width_of(join_units(draft.units))
        comfortable_s = max(rules.comfortable_duration_s, width / rules.max_characters_per_s)
        wanted_ms = draft.start_ms + to_ms(min(comfortable_s, rules.max_duration_s))
        limit_ms = following.start_ms if following else duration_ms
        yield max(draft.end_ms, min(wanted_ms, limit_ms))
