"""Text of subtitles as unbreakable units: their widths and the cost of a break after each."""

import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache
from itertools import pairwise

import msgspec
import wcwidth

from shared.text.punctuation import CLAUSE_MARKS, SENTENCE_MARKS, has_abbreviation_stop
from shared.transcripts import UNSPACED_LANGUAGES


class Break(float, Enum):
    """A kind of place where text may be broken; the value is the cost of a break."""

    SENTENCE = 0.0  # after a full stop and similar marks
    CLAUSE = 1.0  # after a comma and similar marks
    SPACE = 2.5
    ABBREVIATION = 3.5  # after an abbreviation, as in `Mr. Baker`
    CHARACTER = 4.0  # between two characters of a script without spaces, perhaps in a word
    INSIDE = 8.0  # in a word that is longer than a line


class _Piece(msgspec.Struct, frozen=True):
    text: str
    is_spaced: bool
    is_inside: bool  # continues a word that is longer than a line


class Unit(msgspec.Struct, frozen=True):
    """A piece of text that stays on one line; its width is in Latin characters."""

    text: str
    width: int
    is_spaced: bool  # a space stands before it, unless it begins a line
    break_after: Break


_QUOTES = frozenset("\"'")

_CLOSING = frozenset({"Pe", "Pf", "Po"})
_OPENING = frozenset({"Ps", "Pi"})
_NEVER_FIRST = _CLOSING | {"Pd", "Lm", "Zs"}
_NEVER_LAST = _OPENING | {"Sc", "Zs"}

# Narrow scripts without spaces between words, by the first word of their Unicode names.
_UNSPACED_NARROW = frozenset({"THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"})

# Vowels of Thai and Lao that are written before or after their consonant.
_VOWELS_BEFORE = frozenset("เแโใไເແໂໃໄ")
_VOWELS_AFTER = frozenset("ะาๅະາ")


def split_units(text: str, *, max_width: int, language: str | None) -> list[Unit]:
    """Split `text` into unbreakable units, none wider than a line of `max_width`.

    Whitespace only separates words. `language` is the ISO code of the text, if known.
    """
    pieces = list(_pieces(text, max_width))
    is_spaced = language not in UNSPACED_LANGUAGES
    return [
        Unit(
            text=piece.text,
            width=width_of(piece.text),
            is_spaced=piece.is_spaced if order else is_spaced,
            break_after=_break_between(piece, after, language),
        )
        for order, (piece, after) in enumerate(zip(pieces, [*pieces[1:], None], strict=False))
    ]


def join_units(units: Iterable[Unit]) -> str:
    """Return the line that `units` form."""
    line = ""
    for unit in units:
        line += " " + unit.text if line and unit.is_spaced else unit.text
    return line


def width_of(text: str) -> int:
    """Return the width of `text` in Latin characters.

    A wide (Chinese, Japanese, Korean) character counts as two: it takes twice the room on the screen
    and about twice the time to read. A grapheme counts once, however many code points it has.
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
    """Join punctuation that stands alone (`Bonjour !`) to its word."""
    glued: list[str] = []
    for word in words:
        belongs = glued and (_is_all(word, _CLOSING) or _is_all(glued[-1], _OPENING))
        if belongs and width_of(glued[-1]) + 1 + width_of(word) <= max_width:
            glued[-1] += " " + word
        else:
            glued.append(word)
    return glued


def _unspaced_runs(word: str) -> list[str]:
    """Cut the word between characters of scripts without spaces."""
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
    """Cut the run wherever a line is full."""
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


# Bounded, because uploads decide which clusters occur.
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
    return is_small_kana or character in _VOWELS_AFTER or unicodedata.category(character) in _NEVER_FIRST


def _never_ends_line(character: str) -> bool:
    return character in _VOWELS_BEFORE or unicodedata.category(character) in _NEVER_LAST


def _is_all(text: str, categories: frozenset[str]) -> bool:
    return all(unicodedata.category(character) in categories for character in text)


def _break_between(before: _Piece, after: _Piece | None, language: str | None) -> Break:
    mark = _last_mark(before.text)
    if after is None:
        return Break.SENTENCE if mark in SENTENCE_MARKS else Break.CLAUSE
    if after.is_inside:
        return Break.INSIDE
    if mark in SENTENCE_MARKS:
        is_abbreviation = after.is_spaced and _has_abbreviation_stop(before.text, after.text, language)
        return Break.ABBREVIATION if is_abbreviation else Break.SENTENCE
    # In scripts without spaces between words, a space marks a pause.
    is_pause = after.is_spaced and _is_unspaced(before.text[-1]) and _is_unspaced(after.text[0])
    if mark in CLAUSE_MARKS or is_pause:
        return Break.CLAUSE
    return Break.SPACE if after.is_spaced else Break.CHARACTER


def _last_mark(text: str) -> str:
    """Return the last character before closing quotes and brackets, or nothing."""
    for character in reversed(text):
        if character not in _QUOTES and unicodedata.category(character) not in {"Pe", "Pf", "Pi"}:
            return character
    return ""


def _has_abbreviation_stop(before: str, after: str, language: str | None) -> bool:
    word = before.removesuffix(".")
    if word == before:
        return False
    first = next((place for place, character in enumerate(word) if character.isalnum()), 0)
    return has_abbreviation_stop(word[first:], after, language)
