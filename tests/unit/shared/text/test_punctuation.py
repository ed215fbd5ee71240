"""Full stops that end no sentence."""

import pytest

from shared.text.punctuation import has_abbreviation_stop


@pytest.mark.parametrize(
    ("word", "following", "language"),
    [
        ("Mr", "Baker", "en"),
        ("U.S", "Army", "en"),
        ("J", "Smith", None),
        ("3", "Oktober", "de"),
        ("approx", "ten", "en"),
        ("anything", "small", None),
    ],
)
def test_an_abbreviation_ends_no_sentence(word: str, following: str, language: str | None) -> None:
    assert has_abbreviation_stop(word, following, language)


@pytest.mark.parametrize(
    ("word", "following", "language"),
    [
        ("house", "The", "en"),
        ("3", "October", "en"),
        ("32", "Das", "de"),
        ("你", "我", "zh"),
        ("end", "", None),
    ],
)
def test_other_stops_end_a_sentence(word: str, following: str, language: str | None) -> None:
    assert not has_abbreviation_stop(word, following, language)
