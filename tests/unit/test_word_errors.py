"""The scorer counts what a reader would call wrong, and no difference of writing."""

import pytest

from tests.word_errors import ErrorCount, add_counts, count_errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "language"),
    [
        ("MISTER Quilter's neighbour", "Mr. Quilter's neighbor.", "en"),
        ("twenty five years", "25 years", "en"),
        ("l'accident a eu lieu", "L'accident, a eu lieu!", "fr"),
        ("这并不是告别", "這並不是告別。", "zh"),
    ],
)
def test_ways_of_writing_the_same_are_no_errors(reference: str, hypothesis: str, language: str) -> None:
    assert count_errors(reference, hypothesis, language=language).errors == 0


def test_inserted_replaced_and_missing_words_count_one_each() -> None:
    assert count_errors("eins zwei drei vier", "eins zwo drei und", language="de") == ErrorCount(2, 4)
    assert count_errors("eins zwei", "eins und zwei", language="de") == ErrorCount(1, 2)
    assert count_errors("eins zwei", "", language="de") == ErrorCount(2, 2)


def test_chinese_is_counted_by_the_character() -> None:
    assert count_errors("这并不是告别", "这不是告别吗", language="zh") == ErrorCount(2, 6)


def test_counts_add_up() -> None:
    assert add_counts([ErrorCount(1, 10), ErrorCount(0, 5)]) == ErrorCount(1, 15)
    assert ErrorCount(1, 10).rate == pytest.approx(0.1)


def test_a_reference_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="no words"):
        count_errors("...", "a", language="de")
