"""Two spellings of the same text, compared by their letters and digits."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple


class Match(NamedTuple):
    """A run of `length` letters that two texts share, by its first position in each."""

    left: int
    right: int
    length: int


class Spelling:
    """The folded letters of consecutive texts, and the text that each letter belongs to."""

    def __init__(self, texts: Sequence[str]) -> None:
        folded = [fold_letters(text) for text in texts]
        self.letters = "".join(folded)
        self.ends = list(accumulate(map(len, folded)))
        """For each text, the position after its last letter."""

    def find(self, position: int) -> int:
        """Return the index of the text that owns the letter at `position`."""
        return bisect_right(self.ends, position)

    def bounds(self, index: int) -> tuple[int, int]:
        """Return the position of a text's first letter and the position after its last one."""
        return self.ends[index - 1] if index else 0, self.ends[index]

    def split(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield the letters from `start` to `end` by text: its index, the first and the last position."""
        while start < end:
            index = self.find(start)
            text_end = min(end, self.ends[index])
            yield index, start, text_end - 1
            start = text_end


def fold_letters(text: str) -> str:
    """Return the letters and digits of `text` without case, width and accents."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKD", text).casefold()
    return folded if folded.isalnum() else "".join(filter(str.isalnum, folded))


def match_letters(left: str, right: str, *, max_letters: int | None = None) -> list[Match]:
    """Return the runs that both texts share, in order.

    The comparison takes quadratic time where letters repeat. Different texts of more than `max_letters` have
    no runs.
    """
    if left == right:  # nearly always
        return [Match(0, 0, len(left))]
    if max_letters is not None and max(len(left), len(right)) > max_letters:
        return []
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    return [Match(*block) for block in blocks if block.size]


def carry_positions(left: str, right: str, positions: Sequence[int]) -> list[int]:
    """Return the position in `right` for each of the ascending `positions` in `left`.

    Inside a shared run positions move with it; between two runs they keep their share of the distance.
    """
    anchors = [(0, 0)]
    for match in match_letters(left, right):
        anchors += [(match.left, match.right), (match.left + match.length, match.right + match.length)]
    anchors.append((len(left), len(right)))
    carried, at = [], 0
    for position in positions:
        while at + 2 < len(anchors) and anchors[at + 1][0] < position:
            at += 1
        (start, right_start), (end, right_end) = anchors[at], anchors[at + 1]
        share = (position - start) / (end - start) if end > start else 1.0
        carried.append(right_start + round(share * (right_end - right_start)))
    return carried
