"""Marks that end sentences and clauses, and the words whose full stop ends neither."""

import re

SENTENCE_MARKS = frozenset(".!?…。！？．｡؟۔।॥։።")
CLAUSE_MARKS = frozenset(",;:–—，、；：､،؛፣")
OPENING_MARKS = frozenset("([{<«„“‘‚¿¡「『（《〈【")  # noqa: RUF001 - these are the marks

_INITIALS = re.compile(r"[^\W\d_](\.[^\W\d_])*")  # U.S, z.B, or one letter such as the J of a name
# fmt: off
_ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "no", "nr", "vol", "fig", "gen", "col", "lt",
    "sgt", "rev", "hon", "capt", "approx", "bzw", "ca", "evtl", "ggf", "inkl", "hr", "fr", "frl", "str",
    "sog", "usw", "etc", "mme", "mlle", "sra", "srta", "dra", "dott", "sig", "av", "art", "pág", "num",
})
# fmt: on
_ORDINAL_LANGUAGES = frozenset({"de"})  # where "3." reads "third"
_MAX_ORDINAL = 31  # dates have no larger ones


def has_abbreviation_stop(word: str, following: str, language: str | None) -> bool:
    """Return whether the full stop after `word` belongs to it and ends no sentence.

    Args:
        word: the word without its stop, such as `Mr`, `U.S` or `3`.
        following: the text after the stop and the space; a small letter continues the sentence.
        language: the ISO code of the text, if known; it decides on ordinals.
    """
    if following[:1].islower():
        return True
    if word.isdecimal():
        return language in _ORDINAL_LANGUAGES and int(word) <= _MAX_ORDINAL
    has_case = word.lower() != word.upper()
    return word.lower() in _ABBREVIATIONS or bool(has_case and _INITIALS.fullmatch(word))
