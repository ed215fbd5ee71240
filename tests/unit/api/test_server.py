"""The limit on open files is raised for the streams of the process, as far as the system allows."""

import resource

import pytest

from api.server import allow_open_files

Limits = tuple[int, int]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[Limits]:
    """The limits of this process, the last of them in force."""
    limits = [(1_024, 4_096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, given: limits.append(given))
    return limits


@pytest.mark.parametrize(("max_streams", "allowed"), [(500, 1_024), (2_000, 2_256), (100_000, 4_096)])
def test_the_limit_is_raised_as_far_as_needed_and_allowed(
    limits: list[Limits], max_streams: int, allowed: int
) -> None:
    allow_open_files(max_streams)
    assert limits[-1] == (allowed, 4_096)


def test_without_a_hard_limit_all_that_is_needed_is_allowed(limits: list[Limits]) -> None:
    limits.append((1_024, resource.RLIM_INFINITY))
    allow_open_files(100_000)
    assert limits[-1] == (100_256, resource.RLIM_INFINITY)


def test_a_process_without_limits_is_left_alone(limits: list[Limits]) -> None:
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    allow_open_files(100_000)
    assert len(limits) == 2
