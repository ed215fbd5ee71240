"""Letter alignment between two spellings of a text."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.text.letters import Match, Spelling, carry_positions, fold_letters, match_letters

TEXTS = st.text(alphabet="abcé 1", max_size=12)


def test_case_width_accents_and_punctuation_do_not_count() -> None:
    assert fold_letters("Ｃａｆé, N° 3!") == "cafen3"


def test_each_letter_is_found_in_its_text() -> None:
    spelling = Spelling(["Good", "-", "day!"])

    assert spelling.letters == "goodday"
    assert [spelling.find(position) for position in (0, 3, 4, 6)] == [0, 0, 2, 2]
    assert list(spelling.split(2, 6)) == [(0, 2, 3), (2, 4, 5)]
    assert spelling.bounds(2) == (4, 7)


def test_texts_that_differ_match_in_their_common_runs() -> None:
    assert match_letters("colour", "color") == [Match(0, 0, 4), Match(5, 4, 1)]


def test_long_texts_that_differ_are_not_compared() -> None:
    assert match_letters("ab" * 9, "ba" * 9, max_letters=17) == []
    assert match_letters("ab" * 9, "ab" * 9, max_letters=17) == [Match(0, 0, 18)]


def test_a_position_moves_with_its_run_and_keeps_its_share_between_runs() -> None:
    assert carry_positions("onetwo", "one--two", [0, 3, 6]) == [0, 3, 8]
    assert carry_positions("aXXXXb", "aYYb", [1, 3, 5, 6]) == [1, 2, 3, 4]


@given(TEXTS, TEXTS)
def test_carried_positions_ascend_within_the_other_text(left: str, right: str) -> None:
    carried = carry_positions(left, right, range(len(left) + 1))

    assert all(before <= after for before, after in pairwise(carried))
    assert not carried or 0 <= carried[0] <= carried[-1] <= len(right)
