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

# In langcodes' measure: from Swiss German to German it is 8, and from Afrikaans to Dutch 24.
_NEAR = 25

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
    is_plausible = len(stripped) <= _LONGEST_SPELLING and stripped.isprintable()
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
    try:
        language = langcodes.find(spelling).language
    except LookupError:
        return None
    return _canonical(language) if language else None


@cache
def _canonical(code: str) -> str:
    language = langcodes.get(code).language or code
    return _WIDER.get(language, language)


def _unknown(spelling: str, supported: Collection[str]) -> str:
    shown = spelling[:_LONGEST_SPELLING]
    near = _find_spoken_in(spelling) or _find_similar(shown.title())
    suggestion = f" Did you mean {' or '.join(near)}?" if near else ""
    known = f" The engine in use knows {_listing(supported)}." if supported else ""
    return (
        f"There is no language {shown!r}.{suggestion} "
        f"Send an ISO code such as `en`, an English name such as `English`, or `auto`.{known}"
    )


def _find_spoken_in(spelling: str) -> list[str]:
    """The language most spoken in the country of that code, which people confuse with those of languages."""
    try:
        country = langcodes.Language.get(f"und-{spelling}")
    except LanguageTagError:
        return []
    spoken = country.maximize().language if country.territory and country.is_valid() else None
    # Where nobody lives, English is spoken too.
    return [_show(spoken)] if spoken not in (None, "en") else []


def _find_similar(name: str) -> list[str]:
    similar = difflib.get_close_matches(name, _names(), n=3)
    return similar or [known for known in _names() if known.startswith(name)][:3]


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(language_name(code) for code in CLDR_LANGUAGES if code != "und"))
