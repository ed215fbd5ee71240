"""The output of Qwen3-ASR: its language tag, loops, echoes of the context, and text by the token."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import cache

import msgspec

_TEXT_TAG = "<asr_text>"
_LANGUAGE = re.compile(r"^\s*language\s+(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_MARKUP = re.compile(r"<\|[^|<>]*\|>|<asr_text>|<timestamp>")

# A character has at most four bytes, so at most four tokens can wait for the rest of one.
_MAX_CHARACTER_TOKENS = 4
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"

# This many bytes of the context, letters and digits alone, do not recur by chance: about five English words
# or eight Chinese characters. A single technical term, which the context is meant for, is shorter.
_ECHO_BYTES = 24
_ECHO_LOOKBACK_CHARACTERS = 96
# A text that consists of a shorter context alone is an echo from this share of that context on.
_MIN_CONTEXT_SHARE = 0.8


class LoopRule(msgspec.Struct, frozen=True):
    """The limits from which repeated text counts as a loop, in characters.

    A loop has a period of at most `max_period`, at least `min_repeats` repeats and at least `min_characters`
    in all. Whole sentences, with a period of up to `max_sentence`, are a loop after `sentence_repeats`
    repeats. They are suspicious as soon as `suspicious` characters of one have come again.
    """

    max_period: int = 40
    min_repeats: int = 6
    min_characters: int = 64
    max_sentence: int = 240
    sentence_repeats: int = 4
    suspicious: int = 40

    @property
    def min_match(self) -> int:
        """The number of characters that have come before in every loop, whatever its period."""
        return _find_min_match(self)

    def min_length(self, period: int) -> int:
        """Return the number of characters from which text repeated with this period is a loop."""
        if period > self.max_period:
            return self.sentence_repeats * period
        return max(self.min_characters, self.min_repeats * period)


@cache
def _find_min_match(rule: LoopRule) -> int:
    return min(rule.min_length(period) - period for period in range(1, rule.max_sentence + 1))


class Loop(msgspec.Struct, frozen=True):
    """The repeats at the end of a text: the place where they start, and the characters of each."""

    start: int
    period: int


class LanguageTag(msgspec.Struct, frozen=True):
    """The tag before the text: Qwen's name of the language, and the place where the text starts.

    The language is None if the model found no speech.
    """

    language: str | None
    text_start: int


def find_language_tag(output: str) -> LanguageTag | None:
    """Return the tag `language X<asr_text>` of a model's output, or None while it is not complete."""
    end = output.find(_TEXT_TAG)
    if end < 0:
        return None
    found = _LANGUAGE.search(output[:end])
    name = found.group(1) if found else ""
    return LanguageTag(name if name.lower() not in {"", "none"} else None, end + len(_TEXT_TAG))


def find_loop(text: str, rule: LoopRule) -> Loop | None:
    """Return the loop with the shortest period at the end of `text`, or None."""
    for period in _find_periods(text, rule.max_sentence, rule.min_match):
        length = _repeated_length(text, period)
        if length >= rule.min_length(period):
            return Loop(len(text) - length, period)
    return None


def find_first_repeat(text: str, rule: LoopRule) -> int | None:
    """Return the start of the first repeat if `text` ends with suspicious repeats of a sentence, or None."""
    for period in _find_periods(text, rule.max_sentence, rule.suspicious):
        if period > rule.max_period:
            return len(text) - _repeated_length(text, period) + period
    return None


def _find_periods(text: str, max_period: int, match: int) -> Iterator[int]:
    """Yield the periods with which the last `match` characters of `text` repeat, the shortest first.

    Each token of each sequence is checked. So the search is left to `str`, and takes a microsecond.
    """
    start = len(text) - match
    ending = text[start:]
    earlier = start
    while start > 0 and (earlier := text.rfind(ending, max(0, start - max_period), earlier + match - 1)) >= 0:
        yield start - earlier


def _repeated_length(text: str, period: int) -> int:
    position = len(text)
    while position > period and text[position - 1] == text[position - 1 - period]:
        position -= 1
    return len(text) - position + period


def clean_context(context: str | None) -> str:
    """Return `context` without the model's own markup, which would break the prompt."""
    return _MARKUP.sub(" ", context or "").strip()


class EchoFinder:
    """A search for echoes of the context. Models repeat their context if a window has no speech."""

    def __init__(self, context: str) -> None:
        self._letters = _letters(context)
        self._passages = set(_cut_passages(self._letters))
        # A clip may well consist of a single term.
        self._has_terms = len(context.split()) > 1

    def is_all_of(self, text: str) -> bool:
        """Return whether `text` is the context alone, or most of it, however short the context is."""
        letters = _letters(text)
        is_most = len(letters) >= _MIN_CONTEXT_SHARE * len(self._letters)
        return self._has_terms and bool(letters) and is_most and letters in self._letters

    def is_at_end(self, text: str) -> bool:
        """Return whether the last words of `text` contain an echo."""
        return self.is_in(text[-_ECHO_LOOKBACK_CHARACTERS:])

    def is_in(self, text: str) -> bool:
        """Return whether `text` contains an echo anywhere."""
        letters = _letters(text)
        return not self._passages.isdisjoint(_cut_passages(letters))


def _letters(text: str) -> bytes:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum()).encode()


def _cut_passages(letters: bytes) -> Iterator[bytes]:
    """Yield each run of as many letters as an echo has at least."""
    return (letters[start : start + _ECHO_BYTES] for start in range(len(letters) - _ECHO_BYTES + 1))


class TokenText:
    """The text of tokens that arrive one at a time. A character appears with its last byte.

    A token may complete one character and begin the next. There is no boundary of the text at such a token.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self.tokens: list[int] = []
        self.text = ""
        self._decode = decode
        self._lengths: list[int] = []  # for each token: the length of the text at the last boundary
        self._pending: list[int] = []  # tokens since that boundary
        self._shown = 0  # characters of the pending tokens
        self._stalled = 0  # tokens since the last of these characters

    def push(self, token: int) -> None:
        """Take the next token."""
        self._pending.append(token)
        self.tokens.append(token)
        found = self._decode(self._pending)
        complete = found.rstrip(_INCOMPLETE)
        self._stalled = 0 if len(complete) > self._shown else self._stalled + 1
        is_boundary = complete == found or self._stalled == _MAX_CHARACTER_TOKENS
        self.text += (found if is_boundary else complete)[self._shown :]
        self._shown = len(complete)
        if is_boundary:
            self._begin_after_boundary()
        self._lengths.append(len(self.text) - self._shown)

    def _begin_after_boundary(self) -> None:
        self._pending, self._shown, self._stalled = [], 0, 0

    def find_boundary(self, length: int) -> int:
        """Return the last boundary between two tokens within the first `length` characters."""
        index = bisect_right(self._lengths, length)
        return self._lengths[index - 1] if index else 0

    def cut(self, length: int) -> None:
        """Keep the fewest tokens that contain the first `length` characters."""
        kept = bisect_left(self._lengths, length) + 1 if length > 0 else 0
        if kept > len(self.tokens):
            return  # the last of these characters come after the last boundary
        del self.tokens[kept:], self._lengths[kept:]
        self.text = self.text[: self._lengths[-1]] if self._lengths else ""
        self._begin_after_boundary()
