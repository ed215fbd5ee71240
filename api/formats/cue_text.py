"""Where the text of subtitles may be broken, how well, and how wide its pieces are."""

import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache
from itertools import pairwise

import msgspec
import wcwidth


class Break(float, Enum):
    """What stands at a place where text may be broken; the value is what breaking there costs."""

    SENTENCE = 0.0  # behind a full stop and its like
    CLAUSE = 1.0  # behind a comma and its like
    SPACE = 2.5
    ABBREVIATION = 3.5  # behind what may be one, as in `Mr. Baker`
    CHARACTER = 4.0  # between two characters of a script without spaces, perhaps in a word
    INSIDE = 8.0  # in a word that is longer than a line


class _Piece(msgspec.Struct, frozen=True):
    text: str
    is_spaced: bool
    is_inside: bool  # goes on with a word that was longer than a line


class Unit(msgspec.Struct, frozen=True):
    """A piece of text that stays on one line."""

    text: str
    width: int
    is_spaced: bool  # a space stands before it, unless it begins a line
    break_after: Break


_SENTENCE_ENDS = frozenset(".!?…。！？．｡؟۔।॥։።។။")
_CLAUSE_MARKS = frozenset(",;:，、；：､،؛፣—–")
_QUOTES = frozenset("\"'")

_CLOSING = frozenset({"Pe", "Pf", "Po"})
_OPENING = frozenset({"Ps", "Pi"})
_NEVER_FIRST = _CLOSING | {"Pd", "Lm", "Zs"}
_NEVER_LAST = _OPENING | {"Sc"}

# Scripts without spaces between words, by the first word of their characters' names; besides the wide ones.
_UNSPACED_NARROW = frozenset({"THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"})

# Vowels of Thai and Lao that are written before, or behind, the consonant they belong to.
_VOWELS_BEFORE = frozenset("เแโใไເແໂໃໄ")
_VOWELS_BEHIND = frozenset("ะาๅະາ")

_MAX_ABBREVIATION = len("Mrs.")
_VOWELS = frozenset("aeiouy")


def split_units(text: str, *, max_width: int, is_spaced: bool) -> list[Unit]:
    """The pieces of `text` that must not be broken, none wider than `max_width`.

    Args:
        text: any text; its whitespace only says where words end.
        max_width: the width of a line.
        is_spaced: whether a space stands before the text where it follows another one.
    """
    pieces = list(_pieces(text, max_width))
    return [
        Unit(
            text=piece.text,
            width=width_of(piece.text),
            is_spaced=piece.is_spaced if order else is_spaced,
            break_after=_break_between(piece, after),
        )
        for order, (piece, after) in enumerate(zip(pieces, [*pieces[1:], None], strict=False))
    ]


def join_units(units: Iterable[Unit]) -> str:
    """The line that `units` make up."""
    line = ""
    for unit in units:
        line += " " + unit.text if line and unit.is_spaced else unit.text
    return line


def width_of(text: str) -> int:
    """How wide `text` is, in Latin characters.

    A wide (Chinese, Japanese, Korean) character counts as two: it takes twice the room on the screen and
    carries about as much more. What is shown as one character counts once, however many code points it has.
    """
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(map(_width_of_cluster, wcwidth.iter_graphemes(text)))


def _pieces(text: str, max_width: int) -> Iterator[_Piece]:
    for word in _glue_punctuation(text.split(), max_width):
        for in_word, run in enumerate(_unspaced_runs(word)):
            for in_run, piece in enumerate(_cut_hard(run, max_width)):
                yield _Piece(piece, is_spaced=not in_word and not in_run, is_inside=in_run > 0)


def _glue_punctuation(words: list[str], max_width: int) -> list[str]:
    """The words, with punctuation that stands alone (`Bonjour !`) joined to the word it belongs to."""
    glued: list[str] = []
    for word in words:
        belongs = glued and (_is_all(word, _CLOSING) or _is_all(glued[-1], _OPENING))
        if belongs and width_of(glued[-1]) + 1 + width_of(word) <= max_width:
            glued[-1] += " " + word
        else:
            glued.append(word)
    return glued


def _unspaced_runs(word: str) -> list[str]:
    """The word, cut between characters of scripts without spaces."""
    if word.isascii():
        return [word]
    clusters = list(wcwidth.iter_graphemes(word))
    runs = clusters[:1]
    for before, after in pairwise(clusters):
        if _may_break(before[-1], after[0]):
            runs.append(after)
        else:
            runs[-1] += after
    return runs


def _cut_hard(run: str, max_width: int) -> Iterator[str]:
    """The run, cut wherever a line is full."""
    if width_of(run) <= max_width:
        yield run
        return
    line, line_width = "", 0
    for cluster in wcwidth.iter_graphemes(run):
        width = _width_of_cluster(cluster)
        if line and line_width + width > max_width:
            yield line
            line, line_width = "", 0
        line += cluster
        line_width += width
    yield line


# Bounded, because what people upload decides what is asked for.
@lru_cache(maxsize=2**14)
def _width_of_cluster(cluster: str) -> int:
    return min(2, max(0, wcwidth.wcswidth(cluster)))


def _may_break(before: str, after: str) -> bool:
    if not _is_unspaced(before) and not _is_unspaced(after):
        return False
    return not _never_ends_line(before) and not _never_begins_line(after)


@lru_cache(maxsize=2**14)
def _is_unspaced(character: str) -> bool:
    script = _script(character)
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return script != "HANGUL"
    return script in _UNSPACED_NARROW


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]


@lru_cache(maxsize=2**14)
def _never_begins_line(character: str) -> bool:
    is_small_kana = " LETTER SMALL " in unicodedata.name(character, "") and _is_unspaced(character)
    return is_small_kana or character in _VOWELS_BEHIND or unicodedata.category(character) in _NEVER_FIRST


def _never_ends_line(character: str) -> bool:
    return character in _VOWELS_BEFORE or unicodedata.category(character) in _NEVER_LAST


def _is_all(text: str, categories: frozenset[str]) -> bool:
    return all(unicodedata.category(character) in categories for character in text)


def _break_between(before: _Piece, after: _Piece | None) -> Break:
    if after is None:
        return Break.SENTENCE if _last_mark(before.text) in _SENTENCE_ENDS else Break.CLAUSE
    if after.is_inside:
        return Break.INSIDE
    if after.is_spaced and _may_be_abbreviation(before.text, after.text):
        return Break.ABBREVIATION
    return _break_by_mark(before.text, after)


def _break_by_mark(before: str, after: _Piece) -> Break:
    mark = _last_mark(before)
    if mark in _SENTENCE_ENDS:
        return Break.SENTENCE
    # Where words have no spaces between them, a space is a pause.
    is_pause = after.is_spaced and _is_unspaced(before[-1]) and _is_unspaced(after.text[0])
    if mark in _CLAUSE_MARKS or is_pause:
        return Break.CLAUSE
    return Break.SPACE if after.is_spaced else Break.CHARACTER


def _last_mark(text: str) -> str:
    """The last character before closing quotes and brackets, or nothing."""
    for character in reversed(text):
        if character not in _QUOTES and unicodedata.category(character) not in {"Pe", "Pf", "Pi"}:
            return character
    return ""


def _may_be_abbreviation(before: str, after: str) -> bool:
    """Whether the stop behind `before` may be part of it (`Mr.`, `J.`, `3.`, `e.g.`) and end no sentence."""
    if not before.endswith(".") or not before.isascii():
        return False
    is_unpronounceable = len(before) <= _MAX_ABBREVIATION and _VOWELS.isdisjoint(before[1:].lower())
    return is_unpronounceable or after[0].islower()
