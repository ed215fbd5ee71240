"""The settings select subjects and the size of the measurements."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.bench.settings import FULL, ON_REQUEST, QUICK, BenchSettings, Subject


def test_subjects_are_measured_in_one_order_whatever_is_requested() -> None:
    plain = BenchSettings(only="").subjects
    assert [*plain, *ON_REQUEST] == [*Subject]
    assert BenchSettings(only="loss, sync").subjects == (Subject.SYNC, Subject.LOSS)


def test_a_subject_of_another_name_is_rejected() -> None:
    with pytest.raises(ValidationError, match="it should name some of sync, jobs, clips"):
        BenchSettings(only="sync,speed")


def test_subjects_may_have_capitals_and_spaces() -> None:
    assert BenchSettings(only="Loss sync").subjects == (Subject.SYNC, Subject.LOSS)


@pytest.mark.parametrize("name", ON_REQUEST)
def test_a_subject_on_request_is_rejected_with_the_way_to_request_it(name: str) -> None:
    with pytest.raises(ValidationError, match="SIZE=true measures `size`"):
        BenchSettings(only=name)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "CUDA:1", "mps"])
def test_a_device_is_one_that_the_engine_has(device: str) -> None:
    assert BenchSettings(device=device).device == device.lower()


def test_another_device_is_rejected() -> None:
    with pytest.raises(ValidationError, match="it should be auto, cpu, mps, cuda or cuda:1"):
        BenchSettings(device="tpu")


@pytest.mark.parametrize("head", [None, "", "file\tlanguage\n"])
def test_a_folder_of_speech_needs_a_manifest_with_its_columns(tmp_path: Path, head: str | None) -> None:
    if head is not None:
        (tmp_path / "manifest.tsv").write_text(head)

    with pytest.raises(ValidationError, match="with the columns file, language and reference"):
        BenchSettings(speech_dir=tmp_path)


def test_a_folder_of_speech_may_have_further_columns(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_text("file\tseconds\tlanguage\treference\n")

    assert BenchSettings(speech_dir=tmp_path).speech_dir == tmp_path


def test_a_quick_run_measures_less_of_the_same() -> None:
    assert BenchSettings(quick=True).scale is QUICK
    assert BenchSettings(quick=False).scale is FULL
    assert QUICK.rounds < FULL.rounds


def test_a_number_of_listeners_replaces_the_usual_sizes() -> None:
    assert BenchSettings().listener_counts == FULL.listeners
    assert BenchSettings(listeners=2_000).listener_counts == (2_000,)


def test_true_size_and_gpus_are_measured_alone_and_on_request() -> None:
    assert BenchSettings(size=True, rows="1, 4").subjects == (Subject.SIZE,)
    assert BenchSettings(size=True, rows="1, 4").size_rows == (1, 4)
    assert BenchSettings(gpu=True).subjects == (Subject.GPU,)


@pytest.mark.parametrize("rows", ["1,many", "0", "-1", ",", "1.5"])
def test_rows_are_whole_numbers_from_one_on(rows: str) -> None:
    with pytest.raises(ValidationError, match="it should have numbers from 1"):
        BenchSettings(rows=rows)
