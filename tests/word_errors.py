"""Word errors: how far a transcript is from its reference, by Whisper's normalisers and jiwer."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import jiwer
from opencc import OpenCC
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

# Scored by characters: these languages put no spaces between words.
UNSPACED_LANGUAGES = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my", "bo"})


class ErrorCount(NamedTuple):
    """Wrong words (inserted, deleted or replaced) against the words of the reference."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """The word error rate, 0 where nothing is wrong; above 1 where more is wrong than was said."""
        return self.errors / self.words


def count_errors(reference: str, hypothesis: str, *, language: str) -> ErrorCount:
    """Count the errors of `hypothesis`; in characters where `language` is written without spaces.

    Raises:
        ValueError: nothing is left of `reference` once it is normalised.
    """
    expected = normalise(reference, language=language)
    if not expected:
        raise ValueError(f"the reference has no words: {reference!r}")
    found = jiwer.process_words(expected, normalise(hypothesis, language=language))
    errors = found.substitutions + found.deletions + found.insertions
    return ErrorCount(errors, len(expected.split()))


def add_counts(counts: Iterable[ErrorCount]) -> ErrorCount:
    """All `counts` together."""
    pairs = list(counts)
    return ErrorCount(sum(count.errors for count in pairs), sum(count.words for count in pairs))


def normalise(text: str, *, language: str) -> str:
    """`text` as it is compared: words, or characters, with one space between them.

    Chinese is folded to simplified characters, since Whisper writes either.
    """
    if language == "en":
        return str(_english_normalizer()(text)).strip()
    if language in ("zh", "yue"):
        text = _simplifier().convert(text)
    return str(BasicTextNormalizer(split_letters=language in UNSPACED_LANGUAGES)(text)).strip()


@cache
def _english_normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


@cache
def _simplifier() -> OpenCC:
    return OpenCC("t2s")
