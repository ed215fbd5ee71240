"""Text with word timestamps cut into segments: sentences, or clauses of long sentences."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from shared.text.punctuation import CLAUSE_MARKS, OPENING_MARKS, SENTENCE_MARKS, has_abbreviation_stop
from shared.transcripts import Segment, Word, join_texts

MAX_LENGTH_S = 10.0
"""A longer segment is cut at the clause mark, or pause of CLAUSE_PAUSE_S, that is nearest to its middle."""

CLAUSE_PAUSE_S = 0.6

LONG_PAUSE_S = 1.0
"""A pause that always begins a new segment."""


class _Gap(msgspec.Struct, frozen=True):
    """A place to cut between word `number` and the next one: its offsets in the text and its time."""

    number: int
    left_end: int
    right_start: int
    is_firm: bool
    """Whether the text is cut here in any case: a sentence ends, or there is a long pause."""

    middle_s: float


def cut_sentences(text: str, words: Sequence[Word], language: str | None) -> list[Segment]:
    """Cut `text` into segments; joined by the rule of the language they give `text` again.

    Args:
        text: the text of a window.
        words: at least one word; they are spelled as in `text`, in order, and contain all its letters.
        language: the ISO code of the text, if known.
    """
    gaps = list(_find_gaps(text, words, language))
    firm = [gap for gap in gaps if gap.is_firm]
    cuts = list(firm)
    starts = [0, *(gap.number + 1 for gap in firm)]
    ends = [*(gap.number for gap in firm), len(words) - 1]
    for first, last in zip(starts, ends, strict=True):
        cuts += _cut_long(words, first, last, gaps)
    return list(_build_segments(text, words, language, sorted(cuts, key=lambda gap: gap.number)))


def _cut_long(words: Sequence[Word], first: int, last: int, gaps: Sequence[_Gap]) -> Iterator[_Gap]:
    """Yield the gaps that cut the words from `first` to `last` into short pieces, as far as gaps exist."""
    start_s, end_s = words[first].start_s, words[last].end_s
    inside = [gap for gap in gaps if first <= gap.number < last]
    if end_s - start_s <= MAX_LENGTH_S or not inside:
        return
    best = min(inside, key=lambda gap: abs(gap.middle_s - (start_s + end_s) / 2))
    yield best
    yield from _cut_long(words, first, best.number, inside)
    yield from _cut_long(words, best.number + 1, last, inside)


def _build_segments(
    text: str, words: Sequence[Word], language: str | None, cuts: Sequence[_Gap]
) -> Iterator[Segment]:
    text_starts = [0, *(gap.right_start for gap in cuts)]
    text_ends = [*(gap.left_end for gap in cuts), len(text)]
    numbers = [0, *(gap.number + 1 for gap in cuts), len(words)]
    for start, end, (first, end_number) in zip(text_starts, text_ends, pairwise(numbers), strict=True):
        held = tuple(words[first:end_number])
        yield Segment(held[0].start_s, held[-1].end_s, text[start:end].strip(), language, held)


def _find_gaps(text: str, words: Sequence[Word], language: str | None) -> Iterator[_Gap]:
    """Yield the gaps between words that have a mark or a pause and where the text can be cut."""
    start = text.index(words[0].text)
    for number, (word, following) in enumerate(pairwise(words)):
        end = start + len(word.text)
        start = text.index(following.text, end)
        pause_s = following.start_s - word.end_s
        marks = _read_marks(text[end:start])
        if pause_s < CLAUSE_PAUSE_S and (SENTENCE_MARKS | CLAUSE_MARKS).isdisjoint(marks):
            continue
        if cut := _find_cut(text, end + len(marks), start, language):
            middle_s = (word.end_s + following.start_s) / 2
            is_end = _ends_sentence(marks, word.text, following.text, language)
            yield _Gap(number, *cut, is_firm=is_end or pause_s >= LONG_PAUSE_S, middle_s=middle_s)


def _read_marks(gap: str) -> str:
    """Return the marks that belong to the word before `gap`: those up to a space or an opening bracket."""
    for place, character in enumerate(gap):
        if character.isspace() or character in OPENING_MARKS:
            return gap[:place]
    return gap


def _ends_sentence(marks: str, word: str, following: str, language: str | None) -> bool:
    ends = SENTENCE_MARKS.intersection(marks)
    if not ends or following[0].islower():
        return False
    return ends != {"."} or not has_abbreviation_stop(word, following, language)


def _find_cut(text: str, start: int, end: int, language: str | None) -> tuple[int, int] | None:
    """Return the end of the left text and the start of the right one, both within `start` to `end`.

    Return None where joining the two by the rule of the language would not give the text again.
    """
    for place in range(start, end + 1):
        for right in range(place, min(place + 1, end) + 1):
            edges = [(text[place - 1 : place], language), (text[right : right + 1], language)]
            if join_texts(edges) == text[place - 1 : right + 1]:
                return place, right
    return None
