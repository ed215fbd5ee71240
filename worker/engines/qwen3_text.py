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

# So many bytes of the context, letters and digits alone, are no coincidence: some five English words or
# eight Chinese characters. A single technical term, which is what the context is for, is shorter.
_ECHO_BYTES = 24
_ECHO_LOOKBACK_CHARACTERS = 96


class LoopRule(msgspec.Struct, frozen=True):
    """When text counts as a loop: a period of at most `max_period` characters, said again and again.

    It takes both `min_repeats` repeats and `min_characters` in all.
    """

    max_period: int = 40
    min_repeats: int = 6
    min_characters: int = 64


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
    for period in range(1, min(rule.max_period, len(text) - 1) + 1):
        position = len(text)
        while position > period and text[position - 1] == text[position - 1 - period]:
            position -= 1
        length = len(text) - position + period
        if length >= max(rule.min_characters, rule.min_repeats * period):
            return Loop(len(text) - length, period)
    return None


def clean_context(context: str | None) -> str:
    """`context` without the model's own markup, which would take the prompt apart."""
    return _MARKUP.sub(" ", context or "").strip()


class EchoFinder:
    """Finds where a text says long stretches of the context, as models do that hear nothing else."""

    def __init__(self, context: str) -> None:
        letters = _letters(context)
        self._stretches = {
            letters[start : start + _ECHO_BYTES] for start in range(len(letters) - _ECHO_BYTES + 1)
        }

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
    """The text of tokens that come one at a time; a character shows when its last byte is there."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self.tokens: list[int] = []
        self.text = ""
        self._decode = decode
        self._lengths: list[int] = []  # of the text, behind each token
        self._pending: list[int] = []

    def push(self, token: int) -> None:
        """Take the next token."""
        self._pending.append(token)
        found = self._decode(self._pending)
        if not found.endswith("\N{REPLACEMENT CHARACTER}") or len(self._pending) >= _CHARACTER_TOKENS:
            self.text += found
            self._pending = []
        self.tokens.append(token)
        self._lengths.append(len(self.text))

    def seam_before(self, length: int) -> int:
        """The last seam of two tokens within the first `length` characters."""
        index = bisect_right(self._lengths, length)
        return self._lengths[index - 1] if index else 0

    def cut(self, length: int) -> None:
        """Keep the fewest tokens that make up the first `length` characters."""
        kept = bisect_left(self._lengths, length) + 1 if length > 0 else 0
        del self.tokens[kept:], self._lengths[kept:]
        self.text = self.text[: self._lengths[-1]] if self._lengths else ""
        self._pending = []


def token_limit(samples: int, *, tokens_per_s: float, least: int) -> int:
    """How many tokens so many samples of audio may take before something must be wrong."""
    return least + round(samples / SAMPLE_RATE_HZ * tokens_per_s)
