"""Mutators damage whatever they are given, the same way each time, and never without bound."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutators import MAX_BYTES, MUTATORS, splice
from tests.support.media_files import CLIPS

contents = st.binary(max_size=2_000)
seeds = st.integers(min_value=0, max_value=1 << 32)


def source(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - it must be the same again, not unforeseeable


@pytest.mark.parametrize("name", MUTATORS)
@given(content=contents, seed=seeds)
def test_anything_can_be_damaged_and_is_the_same_way_again(name: str, content: bytes, seed: int) -> None:
    mutate = MUTATORS[name]
    damaged = mutate(source(seed), content)
    assert isinstance(damaged, bytes)
    assert damaged == mutate(source(seed), content)


@pytest.mark.parametrize("name", MUTATORS)
def test_a_real_file_is_changed_more_often_than_not(name: str) -> None:
    content = (CLIPS / "speech.m4a").read_bytes()
    changed = sum(MUTATORS[name](source(seed), content) != content for seed in range(20))
    assert changed > 10


@pytest.mark.parametrize("name", MUTATORS)
@given(seed=seeds)
def test_no_mutant_is_larger_than_the_limit(name: str, seed: int) -> None:
    assert len(MUTATORS[name](source(seed), bytes(MAX_BYTES))) <= MAX_BYTES


@pytest.mark.parametrize("name", ["flip_bits", "flip_header_bits", "overwrite_piece", "swap_pieces"])
@given(content=contents, seed=seeds)
def test_what_damages_in_place_keeps_the_length(name: str, content: bytes, seed: int) -> None:
    assert len(MUTATORS[name](source(seed), content)) == len(content)


@given(head=contents, tail=contents, seed=seeds)
def test_a_splice_begins_as_the_one_and_ends_as_the_other(head: bytes, tail: bytes, seed: int) -> None:
    spliced = splice(source(seed), head, tail)
    assert any(
        spliced == head[:kept] + tail[len(tail) - len(spliced) + kept :]
        for kept in range(min(len(head), len(spliced)) + 1)
        if len(spliced) - kept <= len(tail)
    )


@given(content=st.binary(min_size=16, max_size=600), seed=seeds)
def test_a_lie_replaces_no_more_than_a_number(content: bytes, seed: int) -> None:
    for name in ("lie_in_header", "lie_in_length"):
        lying = MUTATORS[name](source(seed), content)
        assert len(lying) == len(content)
        assert sum(was != now for was, now in zip(content, lying, strict=True)) <= 8
