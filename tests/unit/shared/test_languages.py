"""Languages are accepted in any spelling, and refused with a hint."""

import pytest

from shared.errors import InvalidRequest
from shared.languages import language_name, match_language, parse_language


@pytest.mark.parametrize("spelling", ["en", "EN", "en-US", "en_GB", "eng", "English", "english", " english "])
def test_english_is_understood_in_every_spelling(spelling: str) -> None:
    assert parse_language(spelling) == "en"


@pytest.mark.parametrize("spelling", ["", "  ", "auto", "Auto", "AUTO"])
def test_auto_and_nothing_mean_that_the_language_is_detected(spelling: str) -> None:
    assert parse_language(spelling) is None


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("Chinese", "zh"),
        ("zh-TW", "zh"),
        ("Mandarin", "zh"),
        ("cmn", "zh"),
        ("Cantonese", "yue"),
        ("zh-yue", "yue"),
        ("Deutsch", "de"),
        ("Nederlands", "nl"),
        ("zh-Hans", "zh"),
        ("中文", "zh"),
        ("tl", "fil"),
        ("Filipino", "fil"),
        ("Tagalog", "fil"),
        ("iw", "he"),
        ("jw", "jv"),
        ("nb", "no"),
    ],
)
def test_a_language_has_one_code_however_it_is_spelled(spelling: str, code: str) -> None:
    assert parse_language(spelling) == code


@pytest.mark.parametrize("spelling", ["xx", "zz-ZZ", "Gibberish", "x-private", "und", "en\0", "a" * 100_000])
def test_what_is_no_language_is_refused_naming_the_parameter(spelling: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_language(spelling)
    assert refusal.value.param == "language"
    assert len(refusal.value.message) < 300


@pytest.mark.parametrize("spelling", ["en,de", "english german", "english/german", "English; German", "e"])
def test_more_than_one_language_is_not_taken_for_the_first(spelling: str) -> None:
    with pytest.raises(InvalidRequest, match="There is no language"):
        parse_language(spelling, {"en", "de"})


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("Brazilian Portuguese", "pt"),
        ("Simplified Chinese", "zh"),
        ("Mandarin Chinese", "zh"),
        ("Hakka Chinese", "hak"),
        ("Swiss German", "gsw"),
        ("Haitian Creole", "ht"),
        ("norsk bokmål", "no"),
        ("German language", "de"),
        ("日本語", "ja"),
        ("twi", "tw"),
    ],
)
def test_a_name_of_several_words_or_few_letters_is_one_language(spelling: str, code: str) -> None:
    assert parse_language(spelling) == code


@pytest.mark.parametrize(("code", "meant"), [("kr", "Korean"), ("se", "Swedish")])
def test_a_code_of_a_language_hardly_spoken_is_answered_with_that_of_the_country(
    code: str, meant: str
) -> None:
    with pytest.raises(InvalidRequest, match=rf"Did you mean {meant}"):
        match_language(code, {"ko", "sv", "en"})


def test_a_misspelled_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean English"):
        parse_language("Englsh")


@pytest.mark.parametrize(
    ("spelling", "language"),
    [
        ("jp", "Japanese"),
        ("cn", "Chinese"),
        ("gr", "Greek"),
        ("jap", "Japanese"),
        ("ua", "Ukrainian"),
        ("ir", "Persian"),
        ("ma", "Arabic"),
        ("cz", "Czech"),
    ],
)
def test_what_people_take_for_a_code_is_answered_with_the_language_they_mean(
    spelling: str, language: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"Did you mean {language}"):
        parse_language(spelling)


def test_a_region_where_nobody_lives_suggests_nothing() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_language("xx")
    assert "Did you mean" not in refusal.value.message


def test_an_unknown_language_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"supports English \(en\), Chinese \(zh\)"):
        parse_language("Gibberish", {"zh", "en"})


def test_a_language_is_matched_to_the_code_that_the_engine_uses_for_it() -> None:
    assert match_language("fil", {"en", "tl"}) == "tl"
    assert match_language("jv", {"jw", "en"}) == "jw"
    assert match_language("en", {"en"}) == "en"


def test_a_language_that_only_the_engine_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(
        InvalidRequest, match=r"Cantonese \(yue\) is not supported .*, Chinese \(zh\)"
    ) as refusal:
        match_language("yue", {"zh", "en"})
    assert "English (en)" in refusal.value.message
    assert refusal.value.param == "language"


@pytest.mark.parametrize(("code", "nearest"), [("gsw", "German"), ("no", "Danish"), ("wuu", "Chinese")])
def test_a_language_that_only_the_engine_lacks_is_refused_with_the_nearest(code: str, nearest: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"the engine \(qwen3\).* The nearest is {nearest}"):
        match_language(code, {"zh", "en", "de", "da"}, engine="qwen3")


def test_a_language_that_is_near_to_none_has_no_nearest() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        match_language("tlh", {"zh", "en"})
    assert "nearest" not in refusal.value.message


def test_codes_have_english_names() -> None:
    assert [language_name(code) for code in ("en", "zh", "yue")] == ["English", "Chinese", "Cantonese"]


def test_many_languages_are_listed_by_their_codes() -> None:
    many = [f"{first}{second}" for first in "abcdefghij" for second in "abcdefghij"]

    with pytest.raises(InvalidRequest) as refusal:
        parse_language("Gibberish", many)

    assert len(refusal.value.message) < 600
    assert "aa, ab, " in refusal.value.message
