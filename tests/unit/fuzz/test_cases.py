"""An input follows from the seed and its number alone."""

from itertools import pairwise
from pathlib import Path

import pytest

from shared.media.probe import probe_audio
from tests.fuzz.cases import Endpoint, make_case, read_clips
from tests.fuzz.mutators import MUTATORS

CLIPS = read_clips()


def test_there_is_audio_in_every_container() -> None:
    endings = {name.rpartition(".")[2] for name in CLIPS}
    kept = {"aac", "flac", "m4a", "mp3", "mp4", "ogg", "opus", "wav", "webm"}
    assert endings == kept | {"ac3", "aiff", "asf", "au", "avi", "caf", "flv", "mpg", "ts", "w64", "wv"}


def test_clips_are_the_same_bytes_each_time() -> None:
    assert read_clips() == CLIPS


@pytest.mark.parametrize("name", [name for name in CLIPS if name.startswith("made.")])
def test_the_server_reads_the_clips_that_are_made(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(CLIPS[name])
    with (tmp_path / name).open("rb", buffering=0) as file:
        assert probe_audio(file, max_audio_s=60) == pytest.approx(2, abs=0.3)


def test_a_seed_and_a_number_make_the_same_input_again() -> None:
    assert make_case(CLIPS, seed=7, number=40) == make_case(CLIPS, seed=7, number=40)


def test_another_number_or_seed_makes_another_input() -> None:
    made = [make_case(CLIPS, seed=seed, number=number) for seed in (1, 2) for number in range(20)]
    assert all(one.content != other.content for one, other in pairwise(made))


def test_some_hundred_inputs_use_every_clip_endpoint_and_mutator() -> None:
    made = [make_case(CLIPS, seed=1, number=number) for number in range(400)]
    steps = {step for case in made for step in case.recipe.split(" + ")}
    assert {case.clip for case in made} == set(CLIPS)
    assert {case.endpoint for case in made} == set(Endpoint)
    assert set(MUTATORS) <= steps
    assert "repair_checksums" in steps
    assert any(step.startswith("splice") for step in steps)
