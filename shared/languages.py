"""Languages in any spelling: codes, tags and names become ISO codes and back."""

import difflib
import re
from collections.abc import Collection
from functools import cache

import langcodes
from langcodes.language_lists import CLDR_LANGUAGES
from langcodes.tag_parser import LanguageTagError

from shared.errors import InvalidRequest

_AUTOMATIC = frozenset({"", "auto"})

_MAX_SPELLING = 64

# In langcodes' measure: from Swiss German to German it is 8, and from Afrikaans to Dutch 24.
_NEAR = 25

# What has fewer letters of the alphabet is meant as a code; names in other scripts may be that short.
_MIN_NAME = 4

_BETWEEN_LANGUAGES = re.compile(r"[,;/|+&]")

# Codes of a single language for which people, and engines, use the code of the wider one.
_WIDER = {"cmn": "zh", "nb": "no", "arb": "ar", "pes": "fa", "zsm": "ms"}


def parse_language(spelling: str, supported: Collection[str] = ()) -> str | None:
    """The ISO 639 code that `spelling` (`en`, `EN`, `en-US`, `eng`, `English`) stands for; None: detect it.

    Raises:
        InvalidRequest: there is no such language; the message lists those that are `supported`.
    """
    stripped = spelling.strip()
    if stripped.lower() in _AUTOMATIC:
        return None
    is_plausible = len(stripped) <= _MAX_SPELLING and stripped.isprintable()
    code = (_code_of_tag(stripped) or _code_of_name(stripped)) if is_plausible else None
    if code is None:
        raise InvalidRequest(_unknown(stripped, supported), param="language")
    return code


def language_name(code: str) -> str:
    """The English name of the language, such as `Cantonese` for `yue`."""
    return langcodes.get(code).language_name()


def match_language(code: str, supported: Collection[str], *, engine: str = "") -> str:
    """The one of the codes `supported` by `engine` that means the same language as `code`.

    Raises:
        InvalidRequest: none does; the message lists those that are supported, and the nearest one.
    """
    wanted = _canonical(code)
    for candidate in sorted(supported):
        if _canonical(candidate) == wanted:
            return candidate
    named = f" ({engine})" if engine else ""
    near = langcodes.closest_match(code, sorted(supported), max_distance=_NEAR)[0]
    suggestion = f"The nearest is {_show(near)}. " if near in supported else ""
    if (spoken := _find_spoken_in(code)) in {*map(_canonical, supported)}:
        suggestion = f"Did you mean {_show(spoken)}? "
    raise InvalidRequest(
        f"{_show(code)} is not among the languages of the engine in use{named}: {_listing(supported)}. "
        f"{suggestion}Send one of these, or `auto` to have the language detected.",
        param="language",
    )


def _show(code: str) -> str:
    return f"{language_name(code)} ({code})"


def _listing(codes: Collection[str]) -> str:
    return ", ".join(_show(code) for code in sorted(codes))


def _code_of_tag(spelling: str) -> str | None:
    try:
        tag = langcodes.get(spelling)
    except LanguageTagError:
        return None
    if tag.language is None or tag.language.startswith("x-") or not tag.is_valid():
        return None
    return _canonical(tag.language)


def _code_of_name(spelling: str) -> str | None:
    is_code = spelling.isascii() and len(spelling) < _MIN_NAME
    return None if is_code or _are_several(spelling) else _find_name(spelling)


def _find_name(name: str) -> str | None:
    try:
        language = langcodes.find(name).language
    except LookupError:
        return None
    return _canonical(language) if language else None


def _are_several(spelling: str) -> bool:
    """Whether more than one language is named; `langcodes.find` would take the first one of them."""
    if _BETWEEN_LANGUAGES.search(spelling):
        return True
    first, _, rest = spelling.partition(" ")
    one, other = _find_name(first), _find_name(rest) if rest else None
    if one is None or other is None or _find_name(spelling) != one:
        return False
    return langcodes.tag_distance(one, other) > _NEAR  # `Hakka Chinese` is one language


@cache
def _canonical(code: str) -> str:
    language = langcodes.get(code).language or code
    return _WIDER.get(language, language)


def _unknown(spelling: str, supported: Collection[str]) -> str:
    shown = spelling[:_MAX_SPELLING]
    spoken = _find_spoken_in(spelling)
    near = [_show(spoken)] if spoken else _find_similar(shown.title())
    suggestion = f" Did you mean {' or '.join(near)}?" if near else ""
    known = f" The engine in use knows {_listing(supported)}." if supported else ""
    return (
        f"There is no language {shown!r}.{suggestion} "
        f"Send an ISO code such as `en`, an English name such as `English`, or `auto`.{known}"
    )


def _find_spoken_in(spelling: str) -> str | None:
    """The language most spoken in the country of that code, as people confuse the two kinds of codes."""
    try:
        country = langcodes.Language.get(f"und-{spelling}")
    except LanguageTagError:
        return None
    spoken = country.maximize().language if country.territory and country.is_valid() else None
    # Where nobody lives, English is spoken too.
    return spoken if spoken != "en" else None


def _find_similar(name: str) -> list[str]:
    similar = difflib.get_close_matches(name, _names(), n=3)
    return similar or [known for known in _names() if known.startswith(name)][:3]


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(language_name(code) for code in CLDR_LANGUAGES if code != "und"))
