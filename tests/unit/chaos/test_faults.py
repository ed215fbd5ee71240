"""The faults of a run are drawn from its seed."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.faults import WORKERS, FaultKind, draw_faults

LEASE_S = 3.0


def test_the_same_seed_draws_the_same_faults_and_another_one_others() -> None:
    assert draw_faults(7, 40, lease_s=LEASE_S) == draw_faults(7, 40, lease_s=LEASE_S)
    assert draw_faults(7, 40, lease_s=LEASE_S) != draw_faults(8, 40, lease_s=LEASE_S)


def test_a_longer_run_has_the_faults_of_a_shorter_one_first() -> None:
    assert draw_faults(7, 30, lease_s=LEASE_S)[:0] == []
    kinds = [[fault.kind for fault in draw_faults(7, count, lease_s=LEASE_S)] for count in (11, 30)]
    assert kinds[1][:11] == kinds[0]


@pytest.mark.parametrize("count", [0, 1, len(FaultKind), 100])
def test_no_kind_comes_twice_more_often_than_another(count: int) -> None:
    drawn = Counter(fault.kind for fault in draw_faults(1, count, lease_s=LEASE_S))
    times = [drawn[kind] for kind in FaultKind]
    assert sum(times) == count
    assert max(times) - min(times) <= 1


def test_a_worker_is_stopped_for_longer_than_its_lease_and_redis_is_down_for_8_to_20_s() -> None:
    faults = draw_faults(3, 110, lease_s=LEASE_S)
    assert all(one.hold_s > LEASE_S + 1 for one in faults if one.kind is FaultKind.STOP_WORKER)
    assert all(8 <= one.hold_s <= 20 for one in faults if one.kind is FaultKind.REDIS_DOWN)


def test_both_workers_are_hit_and_only_where_a_worker_can_be() -> None:
    faults = draw_faults(3, 110, lease_s=LEASE_S)
    assert {one.target for one in faults if one.kind is FaultKind.KILL_WORKER} == set(WORKERS)
    assert {one.target for one in faults if one.kind is FaultKind.HALF_OPEN} == {*WORKERS, "api"}
    assert not any(one.is_at_worker for one in faults if one.kind is FaultKind.REDIS_DOWN)


def test_after_the_kill_of_a_worker_there_is_peace_until_its_lease_has_ended() -> None:
    faults = draw_faults(3, 110, lease_s=LEASE_S)
    after = [later for before, later in pairwise(faults) if before.kind is FaultKind.KILL_WORKER]
    assert after
    assert all(one.pause_s > LEASE_S + 2 for one in after)
