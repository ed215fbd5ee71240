"""Checksums of Ogg pages are those that encoders write, and only they are changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.ogg_pages import repair_checksums
from tests.support.media_files import CLIPS

CONTENT = (CLIPS / "speech.opus").read_bytes()


@pytest.mark.parametrize("clip", ["speech.ogg", "speech.opus"])
def test_files_that_are_whole_stay_as_they_are(clip: str) -> None:
    content = (CLIPS / clip).read_bytes()
    assert repair_checksums(content) == content


def test_a_wrong_checksum_is_made_right() -> None:
    wrong = CONTENT[:22] + bytes(4) + CONTENT[26:]
    assert wrong != CONTENT
    assert repair_checksums(wrong) == CONTENT


def test_damage_inside_a_page_stays_and_its_checksum_follows() -> None:
    damaged = CONTENT[:30] + bytes([CONTENT[30] ^ 1]) + CONTENT[31:]
    repaired = repair_checksums(damaged)
    assert repaired[30] == damaged[30]
    assert repaired[22:26] != damaged[22:26]
    assert repaired[:22] + repaired[26:] == damaged[:22] + damaged[26:]


@given(st.lists(st.sampled_from([b"OggS", b"\xff" * 30, b"\0" * 30, b"x"])).map(b"".join))
def test_anything_can_be_repaired_and_keeps_its_length(content: bytes) -> None:
    assert len(repair_checksums(content)) == len(content)
