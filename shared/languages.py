"""Languages in any spelling: codes, tags and names become ISO codes and back."""

import difflib
from collections.abc import Collection
from functools import cache

import langcodes
from langcodes.language_lists import CLDR_LANGUAGES
from langcodes.tag_parser import LanguageTagError

from shared.errors import InvalidRequest

_AUTOMATIC = frozenset({"", "auto"})

_LONGEST_SPELLING = 64

# Codes of a single language for which people, and engines, use the code of the wider one.
_WIDER = {"cmn": "zh", "nb": "no", "arb": "ar", "pes": "fa", "zsm": "ms"}


def parse_language(spelling: str) -> str | None:
    """The ISO 639 code that `spelling` (`en`, `EN`, `en-US`, `eng`, `English`) stands for; None: detect it.

    Raises:
        InvalidRequest: there is no such language.
    """
    stripped = spelling.strip()
    if stripped.lower() in _AUTOMATIC:
        return None
    is_plausible = len(stripped) <= _LONGEST_SPELLING and stripped.isprintable()
    code = (_code_of_tag(stripped) or _code_of_name(stripped)) if is_plausible else None
    if code is None:
        raise InvalidRequest(_unknown(stripped), param="language")
    return code


def language_name(code: str) -> str:
    """The English name of the language, such as `Cantonese` for `yue`."""
    return langcodes.get(code).language_name()


def match_language(code: str, supported: Collection[str]) -> str:
    """The one of the `supported` codes that means the same language as `code`.

    Raises:
        InvalidRequest: none does; the message lists those that are supported.
    """
    wanted = _canonical(code)
    for candidate in sorted(supported):
        if _canonical(candidate) == wanted:
            return candidate
    listing = ", ".join(f"{language_name(candidate)} ({candidate})" for candidate in sorted(supported))
    raise InvalidRequest(
        f"{language_name(code)} ({code}) is not among the languages of the engine in use: {listing}. "
        "Send one of these, or `auto` to have the language detected.",
        param="language",
    )


def _code_of_tag(spelling: str) -> str | None:
    try:
        tag = langcodes.get(spelling)
    except LanguageTagError:
        return None
    if tag.language is None or tag.language.startswith("x-") or not tag.is_valid():
        return None
    return _canonical(tag.language)


def _code_of_name(spelling: str) -> str | None:
    try:
        language = langcodes.find(spelling).language
    except LookupError:
        return None
    return _canonical(language) if language else None


@cache
def _canonical(code: str) -> str:
    language = langcodes.get(code).language or code
    return _WIDER.get(language, language)


def _unknown(spelling: str) -> str:
    shown = spelling[:_LONGEST_SPELLING]
    near = difflib.get_close_matches(shown.title(), _names(), n=3)
    suggestion = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        f"There is no language {shown!r}.{suggestion} "
        "Send an ISO code such as `en`, an English name such as `English`, or `auto`."
    )


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(language_name(code) for code in CLDR_LANGUAGES if code != "und"))
