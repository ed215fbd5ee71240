"""The comparison of two texts that one model wrote of the same audio, by the device that it ran on."""

from tests.word_errors import count_errors

MAX_WORD_ERRORS = 0.05
"""The share of words in which two texts of a GPU may differ."""


def is_same_text(expected: str, found: str, *, device: str, language: str = "en") -> bool:
    """Return whether the texts are equal on the CPU, or nearly equal on a GPU.

    In bfloat16 on a GPU, a result depends a little on the other rows of its batch. So a word may be another
    one in a batch of another size.
    """
    if device == "cpu" or expected == found:
        return expected == found
    return bool(expected) and count_errors(expected, found, language=language).rate <= MAX_WORD_ERRORS
