"""The settings select subjects and the size of the measurements."""

import pytest
from pydantic import ValidationError

from tests.bench.settings import FULL, QUICK, BenchSettings, Subject


def test_subjects_are_measured_in_one_order_whatever_is_requested() -> None:
    assert BenchSettings(only="").subjects == tuple(Subject)
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
