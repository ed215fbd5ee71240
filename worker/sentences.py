"""Cuts text with timed words into segments that are sentences, or clauses where a sentence is long."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from shared.transcripts import Segment, Word, join_texts

_SENTENCE_MARKS = frozenset(".!?…。！？｡")
_CLAUSE_MARKS = frozenset(",;:–—،、，；：")
_OPENERS = frozenset("([{<«„“‘‚¿¡「『（《〈【")  # noqa: RUF001 - as well
_INITIALS = re.compile(r"[^\W\d_](\.[^\W\d_])*")  # U.S, z.B, or one letter such as the J of a name
# fmt: off
_ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "no", "nr", "vol", "fig", "gen", "col", "lt",
    "sgt", "rev", "hon", "capt", "approx", "bzw", "ca", "evtl", "ggf", "inkl", "hr", "fr", "frl", "str",
    "sog", "usw", "etc", "mme", "mlle", "sra", "srta", "dra", "dott", "sig", "av", "art", "pág", "num",
})
# fmt: on
_ORDINAL_LANGUAGES = frozenset({"de"})  # where 3. is said "third"
_LARGEST_ORDINAL = 31  # of those that are common, in dates


class SegmentRule(msgspec.Struct, frozen=True):
    """When a segment ends besides at the end of a sentence.

    A segment of more than `longest_s` is cut at a mark between clauses or a pause of `clause_pause_s`, at
    the place nearest to its middle. Behind a pause of `long_pause_s` a new segment always begins.
    """

    longest_s: float = 10.0
    clause_pause_s: float = 0.6
    long_pause_s: float = 1.0


class _Gap(msgspec.Struct, frozen=True):
    """Between the word `number` and the next: where the text can be cut, and what speaks for it."""

    number: int
    left_end: int
    right_start: int
    is_end: bool
    is_clause: bool
    pause_s: float
    middle_s: float


def cut_sentences(
    text: str, words: Sequence[Word], language: str | None, rule: SegmentRule | None = None
) -> list[Segment]:
    """The segments of `text`, which has the `words` in order; joined by the language's rule they are `text`.

    There must be words; they are as they stand in the text, and every letter is in one of them.
    """
    chosen = rule or SegmentRule()
    gaps = list(_find_gaps(text, words, language, chosen))
    firm = [gap for gap in gaps if gap.is_end or gap.pause_s >= chosen.long_pause_s]
    soft = [gap for gap in gaps if gap.is_clause or gap.pause_s >= chosen.clause_pause_s]
    cuts = list(firm)
    starts = [0, *(gap.number + 1 for gap in firm)]
    ends = [*(gap.number for gap in firm), len(words) - 1]
    for first, last in zip(starts, ends, strict=True):
        cuts += _cut_long(words, first, last, soft, chosen.longest_s)
    return list(_build_segments(text, words, language, sorted(cuts, key=lambda gap: gap.number)))


def _cut_long(
    words: Sequence[Word], first: int, last: int, soft: Sequence[_Gap], longest_s: float
) -> Iterator[_Gap]:
    """The gaps at which the words from `first` to `last` fall into short pieces, as far as there are any."""
    start_s, end_s = words[first].start_s, words[last].end_s
    inside = [gap for gap in soft if first <= gap.number < last]
    if end_s - start_s <= longest_s or not inside:
        return
    best = min(inside, key=lambda gap: abs(gap.middle_s - (start_s + end_s) / 2))
    yield best
    yield from _cut_long(words, first, best.number, inside, longest_s)
    yield from _cut_long(words, best.number + 1, last, inside, longest_s)


def _build_segments(
    text: str, words: Sequence[Word], language: str | None, cuts: Sequence[_Gap]
) -> Iterator[Segment]:
    text_starts = [0, *(gap.right_start for gap in cuts)]
    text_ends = [*(gap.left_end for gap in cuts), len(text)]
    numbers = [0, *(gap.number + 1 for gap in cuts), len(words)]
    for start, end, (first, behind) in zip(text_starts, text_ends, pairwise(numbers), strict=True):
        held = tuple(words[first:behind])
        yield Segment(held[0].start_s, held[-1].end_s, text[start:end].strip(), language, held)


def _find_gaps(text: str, words: Sequence[Word], language: str | None, rule: SegmentRule) -> Iterator[_Gap]:
    """The gaps between words where the text can be cut and something speaks for it."""
    start = text.index(words[0].text)
    for number, (word, following) in enumerate(pairwise(words)):
        end = start + len(word.text)
        start = text.index(following.text, end)
        pause_s = following.start_s - word.end_s
        marks = _read_marks(text[end:start])
        is_end = _ends_sentence(marks, word.text, following.text, language)
        is_clause = not _SENTENCE_MARKS.isdisjoint(marks) or not _CLAUSE_MARKS.isdisjoint(marks)
        if not (is_end or is_clause or pause_s >= rule.clause_pause_s):
            continue
        if seam := _find_seam(text, end + len(marks), start, language):
            middle_s = (word.end_s + following.start_s) / 2
            yield _Gap(number, *seam, is_end=is_end, is_clause=is_clause, pause_s=pause_s, middle_s=middle_s)


def _read_marks(gap: str) -> str:
    """The marks in `gap` that belong to the word before it: those up to a space or an opening bracket."""
    for place, character in enumerate(gap):
        if character.isspace() or character in _OPENERS:
            return gap[:place]
    return gap


def _ends_sentence(marks: str, word: str, following: str, language: str | None) -> bool:
    ends = _SENTENCE_MARKS.intersection(marks)
    if not ends or following[0].islower():
        return False
    if ends != {"."}:
        return True
    is_ordinal = language in _ORDINAL_LANGUAGES and word.isdecimal() and int(word) <= _LARGEST_ORDINAL
    has_case = word.lower() != word.upper()
    is_abbreviation = word.lower() in _ABBREVIATIONS or (has_case and _INITIALS.fullmatch(word))
    return not (is_ordinal or is_abbreviation)


def _find_seam(text: str, start: int, end: int, language: str | None) -> tuple[int, int] | None:
    """Where in `text[start:end]` to cut: the end of the left text and the start of the right one.

    None where joining the two by the language's rule would not give the text again.
    """
    for place in range(start, end + 1):
        for behind in range(place, min(place + 1, end) + 1):
            edges = [(text[place - 1 : place], language), (text[behind : behind + 1], language)]
            if join_texts(edges) == text[place - 1 : behind + 1]:
                return place, behind
    return None
