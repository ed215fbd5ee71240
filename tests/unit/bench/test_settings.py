"""The settings select subjects and the size of the measurements."""

import pytest
from pydantic import ValidationError

from tests.bench.settings import FULL, ON_REQUEST, QUICK, BenchSettings, Subject


def test_subjects_are_measured_in_one_order_whatever_is_requested() -> None:
    plain = BenchSettings(only="").subjects
    assert [*plain, *ON_REQUEST] == [*Subject]
    assert BenchSettings(only="loss, sync").subjects == (Subject.SYNC, Subject.LOSS)


def test_a_subject_of_another_name_is_rejected() -> None:
    with pytest.raises(ValidationError):
        BenchSettings(only="sync,speed")


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


def test_rows_are_numbers() -> None:
    with pytest.raises(ValidationError):
        BenchSettings(rows="1,many")
