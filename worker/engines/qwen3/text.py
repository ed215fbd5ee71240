"""What Qwen3-ASR's output looks like: its head, loops in it, a prompt said back, and how long it may get."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ

_TEXT_TAG = "<asr_text>"
_LANGUAGE = re.compile(r"^\s*language\s+(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_MARKUP = re.compile(r"<\|[^|<>]*\|>|<asr_text>|<timestamp>")

# A character is at most four bytes, so no more tokens than these can be waiting for the rest of one.
_CHARACTER_TOKENS = 4
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"

# So many bytes of the context, letters and digits alone, are no coincidence: some five English words or
# eight Chinese characters. A single technical term, which is what the context is for, is shorter.
_ECHO_BYTES = 24
_ECHO_LOOKBACK_CHARACTERS = 96
# Of a context that is shorter than that, a text which is nothing else has at least so much.
_MAX_OF_CONTEXT = 0.8


class LoopRule(msgspec.Struct, frozen=True):
    """When text counts as a loop: a period of at most `max_period` characters, said again and again.

    It takes both `min_repeats` repeats and `min_characters` in all. Whole sentences, with a period of up to
    `max_sentence`, are a loop when they come `sentence_repeats` times, and under suspicion as soon as
    `suspicious` characters of one have come again.
    """

    max_period: int = 40
    min_repeats: int = 6
    min_characters: int = 64
    max_sentence: int = 240
    sentence_repeats: int = 4
    suspicious: int = 40

    def least_length(self, period: int) -> int:
        """How many characters, repeated with that period, are a loop."""
        if period > self.max_period:
            return self.sentence_repeats * period
        return max(self.min_characters, self.min_repeats * period)


class Loop(msgspec.Struct, frozen=True):
    """The repeats at the end of a text: where they start, and how many characters each has."""

    start: int
    period: int


class Head(msgspec.Struct, frozen=True):
    """What precedes the text: Qwen's name of the language, None for no speech, and where the text starts."""

    language: str | None
    text_start: int


def find_head(raw: str) -> Head | None:
    """The head `language X<asr_text>` of a model's output; None where there is none, or not all of it yet."""
    end = raw.find(_TEXT_TAG)
    if end < 0:
        return None
    found = _LANGUAGE.search(raw[:end])
    name = found.group(1) if found else ""
    return Head(name if name.lower() not in {"", "none"} else None, end + len(_TEXT_TAG))


def find_loop(text: str, rule: LoopRule) -> Loop | None:
    """The loop that `text` ends with, if it does, by its shortest period."""
    for period in range(1, min(rule.max_sentence, len(text) - 1) + 1):
        length = _repeated_length(text, period)
        if length >= rule.least_length(period):
            return Loop(len(text) - length, period)
    return None


def find_first_repeat(text: str, rule: LoopRule) -> int | None:
    """Where the first repeat begins in a `text` that ends with what may become a loop of sentences."""
    for period in range(rule.max_period + 1, min(rule.max_sentence, len(text) - 1) + 1):
        length = _repeated_length(text, period)
        if length >= period + rule.suspicious:
            return len(text) - length + period
    return None


def _repeated_length(text: str, period: int) -> int:
    position = len(text)
    while position > period and text[position - 1] == text[position - 1 - period]:
        position -= 1
    return len(text) - position + period


def clean_context(context: str | None) -> str:
    """`context` without the model's own markup, which would take the prompt apart."""
    return _MARKUP.sub(" ", context or "").strip()


class EchoFinder:
    """Finds where a text says the context back, as models do that hear nothing else."""

    def __init__(self, context: str) -> None:
        letters = _letters(context)
        self._stretches = {
            letters[start : start + _ECHO_BYTES] for start in range(len(letters) - _ECHO_BYTES + 1)
        }
        self._letters = letters
        # A single term is what a clip may well consist of.
        self._has_terms = len(context.split()) > 1

    def is_all_of(self, text: str) -> bool:
        """Whether `text` is nothing but the context, or most of it, however short that is."""
        letters = _letters(text)
        is_most = len(letters) >= _MAX_OF_CONTEXT * len(self._letters)
        return self._has_terms and bool(letters) and is_most and letters in self._letters

    def is_at_end(self, text: str) -> bool:
        """Whether there is one in the last words of `text`."""
        return bool(self._stretches) and self.is_in(text[-_ECHO_LOOKBACK_CHARACTERS:])

    def is_in(self, text: str) -> bool:
        """Whether there is one anywhere in `text`."""
        letters = _letters(text)
        starts = range(len(letters) - _ECHO_BYTES + 1) if self._stretches else ()
        return any(letters[start : start + _ECHO_BYTES] in self._stretches for start in starts)


def _letters(text: str) -> bytes:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum()).encode()


class TokenText:
    """The text of tokens that come one at a time; a character shows when its last byte is there.

    A token may complete one character and begin the next: there, the text has no seam.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self.tokens: list[int] = []
        self.text = ""
        self._decode = decode
        self._lengths: list[int] = []  # of the text, up to the last seam behind each token
        self._pending: list[int] = []  # since that seam
        self._shown = 0  # characters of the pending tokens
        self._stalled = 0  # tokens since the last of them

    def push(self, token: int) -> None:
        """Take the next token."""
        self._pending.append(token)
        self.tokens.append(token)
        found = self._decode(self._pending)
        complete = found.rstrip(_INCOMPLETE)
        self._stalled = 0 if len(complete) > self._shown else self._stalled + 1
        is_seam = complete == found or self._stalled == _CHARACTER_TOKENS
        self.text += (found if is_seam else complete)[self._shown :]
        self._shown = len(complete)
        if is_seam:
            self._begin_behind_seam()
        self._lengths.append(len(self.text) - self._shown)

    def _begin_behind_seam(self) -> None:
        self._pending, self._shown, self._stalled = [], 0, 0

    def seam_before(self, length: int) -> int:
        """The last seam of two tokens within the first `length` characters."""
        index = bisect_right(self._lengths, length)
        return self._lengths[index - 1] if index else 0

    def cut(self, length: int) -> None:
        """Keep the fewest tokens that make up the first `length` characters."""
        kept = bisect_left(self._lengths, length) + 1 if length > 0 else 0
        if kept > len(self.tokens):
            return  # the last of them are behind the last seam
        del self.tokens[kept:], self._lengths[kept:]
        self.text = self.text[: self._lengths[-1]] if self._lengths else ""
        self._begin_behind_seam()


def token_limit(samples: int, *, tokens_per_s: float, least: int) -> int:
    """How many tokens so many samples of audio may take before something must be wrong."""
    return least + round(samples / SAMPLE_RATE_HZ * tokens_per_s)
