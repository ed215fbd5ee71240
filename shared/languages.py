"""Conversion between ISO codes and languages in any spelling: codes, tags and names."""

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

# The distance of langcodes: 8 from Swiss German to German, and 24 from Afrikaans to Dutch.
_NEAR = 25

# The names of more languages would make a message of kilobytes; then only the codes are listed.
_MAX_NAMED = 30

# Fewer Latin letters are taken for a code. Names in other scripts may be that short.
_MIN_NAME = 4

_BETWEEN_LANGUAGES = re.compile(r"[,;/|+&]")

# Codes of languages for which people and engines use the code of the wider language.
_WIDER = {"cmn": "zh", "nb": "no", "arb": "ar", "pes": "fa", "zsm": "ms"}


def parse_language(spelling: str, supported: Collection[str] = ()) -> str | None:
    """Return the ISO 639 code of `spelling` (`en`, `EN`, `en-US`, `eng`, `English`); None for `auto`.

    Raises:
        InvalidRequest: the language is unknown. The message lists the `supported` ones.
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
    """Return the English name of the language, such as `Cantonese` for `yue`."""
    return langcodes.get(code).language_name()


def list_codes(code: str) -> tuple[str, ...]:
    """Return the ISO codes of a language that media files use: of two letters, and both of three letters."""
    language = langcodes.get(code)
    return tuple(dict.fromkeys((code, language.to_alpha3(), language.to_alpha3(variant="B"))))


def match_language(code: str, supported: Collection[str], *, engine: str = "") -> str:
    """Return the code in `supported` (by `engine`) of the same language as `code`.

    Raises:
        InvalidRequest: none matches. The message lists the supported ones and the nearest.
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
        f"{_show(code)} is not supported by the engine{named}. It supports {_listing(supported)}. "
        f"{suggestion}Send one of these, or `auto` to detect the language.",
        param="language",
    )


def _show(code: str) -> str:
    return f"{language_name(code)} ({code})"


def _listing(codes: Collection[str]) -> str:
    show = _show if len(codes) <= _MAX_NAMED else str
    return ", ".join(show(code) for code in sorted(codes))


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
    """Return whether `spelling` names more than one language; `langcodes.find` would take the first."""
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
    known = f" The engine supports {_listing(supported)}." if supported else ""
    return (
        f"There is no language {shown!r}.{suggestion} "
        f"Send an ISO code such as `en`, an English name such as `English`, or `auto`.{known}"
    )


def _find_spoken_in(spelling: str) -> str | None:
    """Return the main language of the country with this code, since people confuse the two kinds of codes."""
    try:
        country = langcodes.Language.get(f"und-{spelling}")
    except LanguageTagError:
        return None
    spoken = country.maximize().language if country.territory and country.is_valid() else None
    # langcodes names English for territories without inhabitants too.
    return spoken if spoken != "en" else None


def _find_similar(name: str) -> list[str]:
    similar = difflib.get_close_matches(name, _names(), n=3)
    return similar or [known for known in _names() if known.startswith(name)][:3]


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(language_name(code) for code in CLDR_LANGUAGES if code != "und"))
