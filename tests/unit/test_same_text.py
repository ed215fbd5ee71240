"""Texts of a model are compared exactly on the CPU, and by word errors on a GPU."""

from tests.support.same_text import is_same_text

TEXT = " ".join(f"word{number}" for number in range(40))
NEAR = TEXT.replace("word7 ", "wort7 ")
FAR = TEXT.replace("word", "wort")


def test_on_the_cpu_texts_are_the_same_if_they_are_equal() -> None:
    assert is_same_text(TEXT, TEXT, device="cpu")
    assert not is_same_text(TEXT, NEAR, device="cpu")


def test_on_a_gpu_some_words_may_differ() -> None:
    assert is_same_text(TEXT, NEAR, device="cuda:0")
    assert not is_same_text(TEXT, FAR, device="cuda:0")
    assert is_same_text("", "", device="cuda:0")
    assert not is_same_text("", TEXT, device="cuda:0")
