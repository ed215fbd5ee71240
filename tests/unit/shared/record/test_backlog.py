"""Waits and Retry-After follow from the backlog, the speed and the workers, within bounds."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import QueueFull
from shared.record.backlog import (
    DEFAULT_SPEED,
    MAX_RETRY_S,
    MIN_RETRY_S,
    AdmissionLimit,
    Backlog,
    QueueLimits,
    estimate_room_s,
    keep_shares,
)

LIMITS = QueueLimits(10, 1_000.0, 5, 100.0)

BACKLOGS = st.builds(
    Backlog,
    queued_jobs=st.integers(0, 10**6),
    queued_ms=st.integers(0, 10**12),
    running_ms=st.integers(0, 10**9),
    unfinished_jobs_of_key=st.integers(0, 10**6),
    queued_of_key_ms=st.integers(0, 10**12),
    running_jobs=st.integers(0, 10**4),
    measured=st.dictionaries(
        st.sampled_from([1, 8]), st.tuples(st.floats(0.001, 10**4), st.floats(0.001, 10**4))
    ),
    model_states=st.dictionaries(
        st.text(max_size=3), st.sampled_from(["0 ready 1", "1 absent 1", "1 busy 16"]), max_size=5
    ),
)


def working(count: int, *, rows: int = 1) -> dict[str, str]:
    """The states of so many workers that take jobs."""
    return {str(number): f"1 ready {rows}" for number in range(count)}


def speeds(by_rows: Mapping[int, float]) -> dict[int, tuple[float, float]]:
    """The measured sums of these speeds."""
    return {rows: (4.0 * speed, 4.0) for rows, speed in by_rows.items()}


def backlog(**fields: object) -> Backlog:
    """One worker at twice real time, with ten jobs of 100 s queued and 50 s of another to do."""
    known = {
        "queued_jobs": 10,
        "queued_ms": 1_000_000,
        "running_ms": 50_000,
        "unfinished_jobs_of_key": 5,
        "queued_of_key_ms": 400_000,
        "measured": speeds({1: 2.0}),
        "model_states": working(1),
    }
    return Backlog(**(known | fields))  # type: ignore[arg-type]


def test_all_workers_that_take_jobs_share_the_work() -> None:
    assert backlog().wait_s == 525
    assert backlog(model_states=working(3)).wait_s == 175
    assert backlog(model_states=working(3) | {"resting": "0 ready 1"}).wait_s == 175
    assert backlog(queued_ms=0, running_ms=0).wait_s == 0


def test_without_a_worker_the_wait_is_that_for_one_worker() -> None:
    assert backlog(model_states={}).wait_s == 525


def test_before_the_first_window_the_speed_is_real_time() -> None:
    assert DEFAULT_SPEED == 1
    assert backlog(measured={}).wait_s == 1_050


def test_an_eta_counts_what_runs_what_is_ahead_and_the_job() -> None:
    left = backlog(queued_jobs=3, queued_ms=60_000, first_ms=(10_000, 20_000, 30_000))
    assert left.estimate_eta_s(4_000, None) == 2
    assert [left.estimate_eta_s(1_000 * s, n) for n, s in enumerate((10, 20, 30))] == [30, 40, 55]


def test_far_back_in_the_queue_the_mean_of_the_rest_counts() -> None:
    left = backlog(queued_jobs=6, queued_ms=60_000, running_ms=0, first_ms=(10_000, 10_000))
    assert left.estimate_eta_s(2_000, 5) == (20 + 3 * 10 + 2) / 2


def test_without_a_measured_speed_or_a_worker_there_is_no_eta() -> None:
    assert backlog(measured={}).estimate_eta_s(1_000, 0) is None
    assert backlog(model_states={"w": "0 ready 1"}).estimate_eta_s(1_000, 0) is None


CLIP_MS = 4_000


def clips(queued: int, *, running: int = 0, **fields: object) -> Backlog:
    """A worker with 16 rows, at four times real time with one and 16 times with all, and so many clips."""
    amounts = {"queued_jobs": queued, "queued_ms": queued * CLIP_MS, "first_ms": (CLIP_MS,) * min(queued, 20)}
    amounts |= {"running_jobs": running, "running_ms": running * CLIP_MS}
    known = {"measured": speeds({1: 4.0, 16: 16.0}), "model_states": working(1, rows=16)}
    return backlog(**(amounts | known | fields))


def test_clips_of_one_batch_end_together() -> None:
    assert [clips(16).estimate_eta_s(CLIP_MS, position) for position in (0, 7, 15)] == [4.0] * 3
    assert clips(0, running=16).estimate_eta_s(CLIP_MS, None) == 4.0


def test_a_clip_alone_has_the_speed_of_one_row_however_fast_batches_were() -> None:
    assert clips(1).estimate_eta_s(CLIP_MS, 0) == 1.0
    assert clips(0, running=1).estimate_eta_s(CLIP_MS, None) == 1.0


def test_a_clip_waits_for_the_batches_ahead() -> None:
    assert clips(48, running=16).estimate_eta_s(CLIP_MS, 47) == 16.0


def test_an_interactive_clip_waits_for_one_batch_of_a_running_file() -> None:
    hour = {"running_jobs": 1, "running_ms": 3_600_000}
    assert clips(1, **hour).estimate_eta_s(CLIP_MS, 0) == 225.3
    assert clips(1, **hour).estimate_eta_s(CLIP_MS, 0, is_interactive=True) == 30.3


def test_two_workers_share_the_rows() -> None:
    two = working(2, rows=16)
    assert clips(2, model_states=two).estimate_eta_s(CLIP_MS, 1) == 1.5
    assert clips(32, model_states=two).estimate_eta_s(CLIP_MS, 0) == 4.0


def test_a_file_fills_the_rows_of_a_batch_alone() -> None:
    hour_ms = 3_600_000
    assert backlog(
        queued_jobs=1, queued_ms=hour_ms, running_ms=0, measured=speeds({1: 4.0, 16: 16.0}),
        model_states=working(1, rows=16),
    ).estimate_eta_s(hour_ms, 0) == 225.0  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "found"), [({1: 4.0}, 4.0), ({8: 8.0, 16: 16.0}, 8.0), ({32: 32.0}, 32.0)]
)
def test_the_speed_of_the_nearest_measured_number_of_rows_counts(
    measured: Mapping[int, float], found: float
) -> None:
    assert clips(9, measured=speeds(measured)).speed == found


def test_no_interactive_job_waits_for_jobs_that_share_its_batch() -> None:
    assert clips(15).estimate_interactive_wait_s(15) == 0.0
    assert clips(20).estimate_interactive_wait_s(17) == 2 * CLIP_MS / 1000 / 16


def test_the_next_place_is_free_when_the_running_job_ends() -> None:
    assert estimate_room_s(AdmissionLimit.QUEUED_JOBS, backlog(), LIMITS) == 25


def test_each_further_place_takes_a_job_of_mean_length() -> None:
    assert estimate_room_s(AdmissionLimit.QUEUED_JOBS, backlog(queued_jobs=10), QueueLimits(8)) == 25 + 100


def test_room_for_audio_comes_when_enough_has_been_begun() -> None:
    assert estimate_room_s(AdmissionLimit.QUEUED_AUDIO, backlog(), LIMITS, audio_s=80.0) == 25
    assert estimate_room_s(AdmissionLimit.QUEUED_AUDIO, backlog(), LIMITS, audio_s=300.0) == 25 + 100
    assert estimate_room_s(AdmissionLimit.QUEUED_AUDIO_OF_KEY, backlog(), LIMITS) == 25 + 100


@given(st.sampled_from(AdmissionLimit), BACKLOGS, st.floats(0, 10**6))
def test_whatever_the_backlog_a_client_is_told_a_time_it_obeys(
    limit: AdmissionLimit, left: Backlog, audio_s: float
) -> None:
    room_s = estimate_room_s(limit, left, LIMITS, audio_s=audio_s)
    assert room_s >= 0
    full = QueueFull(limit, LIMITS, room_s)
    assert MIN_RETRY_S <= full.retry_after_s <= MAX_RETRY_S
    assert isinstance(full.retry_after_s, int)


@pytest.mark.parametrize("keys", [0, 1])
def test_a_single_key_and_an_open_server_have_the_whole_queue(keys: int) -> None:
    assert keep_shares(LIMITS, keys=keys) == LIMITS


@given(st.integers(2, 1_000), st.integers(1, 10**6), st.floats(1, 10**9))
def test_all_shares_together_are_a_tenth_of_the_queue_or_a_job_for_each_key(
    keys: int, max_jobs: int, max_audio_s: float
) -> None:
    kept = keep_shares(QueueLimits(max_jobs, max_audio_s), keys=keys)
    assert kept.max_queued_jobs
    assert kept.jobs_in_share_of_key
    assert kept.max_queued_audio_s
    assert kept.audio_in_share_of_key_s
    shared_out = keys * kept.jobs_in_share_of_key
    assert kept.max_queued_jobs + shared_out <= max_jobs or kept.jobs_in_share_of_key == 1
    assert shared_out <= max(keys, max_jobs // 10)
    assert kept.max_queued_audio_s + keys * kept.audio_in_share_of_key_s == pytest.approx(max_audio_s)


def test_a_limit_that_is_not_there_is_not_shared_out() -> None:
    assert keep_shares(QueueLimits(), keys=3) == QueueLimits()


@pytest.mark.parametrize("limit", AdmissionLimit)
def test_the_message_names_the_limit(limit: AdmissionLimit) -> None:
    shown = {
        AdmissionLimit.QUEUED_JOBS: "10",
        AdmissionLimit.QUEUED_AUDIO: "1000",
        AdmissionLimit.UNFINISHED_JOBS_OF_KEY: "5",
        AdmissionLimit.QUEUED_AUDIO_OF_KEY: "100",
    }[limit]
    message = QueueFull(limit, LIMITS, 7.0).message
    assert f" {shown} " in message
    assert "retry in 7 s" in message.lower()
