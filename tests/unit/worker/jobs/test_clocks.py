"""The clocks of a job count only inference, over all its claims, and detect a stalled engine."""

import msgspec
import pytest

from shared.jobs import Checkpoint, Claim, Endpoint, Priority, TranscriptionRequest, Upload
from worker.jobs.clocks import JobClocks
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings(request_timeout=100, stall_timeout_s=20, load_timeout_s=50)


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    """Return the time that the clocks show."""
    return Time()


@pytest.fixture
def clocks(time: Time) -> JobClocks:
    """Return the clocks of a job without earlier claims."""
    return JobClocks(make_claim(Endpoint.SYNC), SETTINGS, clock=time)


def make_claim(endpoint: Endpoint, duration_s: float = 1.0) -> Claim:
    upload = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=duration_s)
    return Claim(
        "a",
        endpoint,
        Priority.BATCH,
        upload,
        TranscriptionRequest(),
        claim_no=1,
        attempt=1,
        checkpoint=Checkpoint(),
    )


def test_the_rest_of_a_batch_without_rows_of_the_job_does_not_count_as_inference(
    time: Time, clocks: JobClocks
) -> None:
    clocks.begin_inference()
    time.now += 10
    clocks.rest()
    time.now += 15
    clocks.begin_inference()  # a companion shows that the engine is alive
    time.now += 15
    assert (clocks.inference_ms, clocks.is_inferring, clocks.is_stalled) == (10_000, True, False)
    clocks.end_rest()
    time.now += 5
    assert (clocks.inference_ms, clocks.is_inferring) == (15_000, True)


def test_a_job_that_rests_notices_that_the_engine_is_stalled(time: Time, clocks: JobClocks) -> None:
    clocks.begin_inference()
    clocks.rest()
    time.now += 21
    assert clocks.is_stalled


def test_loading_does_not_count_as_inference_whenever_it_happens(time: Time, clocks: JobClocks) -> None:
    time.now += 40
    assert (clocks.inference_ms, clocks.is_inferring) == (0, False)
    clocks.begin_inference()
    time.now += 10
    clocks.begin_loading()  # of a second model
    time.now += 30
    assert (clocks.inference_ms, clocks.is_inferring) == (10_000, False)
    clocks.begin_inference()
    time.now += 5
    assert (clocks.inference_ms, clocks.is_inferring) == (15_000, True)


def test_a_second_report_of_inference_does_not_restart_the_clock(time: Time, clocks: JobClocks) -> None:
    clocks.begin_inference()
    time.now += 60
    clocks.begin_inference()
    time.now += 41
    assert clocks.is_inference_over


def test_silence_beside_other_jobs_does_not_count_as_inference(time: Time, clocks: JobClocks) -> None:
    clocks.is_alone = False
    clocks.begin_inference()
    time.now += 60
    clocks.begin_inference()
    time.now += 60
    assert (clocks.inference_ms, clocks.is_inference_over) == (60_000, False)
    clocks.begin_inference()
    assert (clocks.inference_ms, clocks.is_inference_over) == (120_000, True)


def test_the_inference_of_earlier_claims_counts(time: Time) -> None:
    claim = msgspec.structs.replace(make_claim(Endpoint.SYNC), inference_ms=90_000)
    clocks = JobClocks(claim, SETTINGS, clock=time)
    clocks.begin_inference()
    time.now += 10
    assert not clocks.is_inference_over
    time.now += 1
    assert clocks.is_inference_over
    assert clocks.inference_ms == 101_000


def test_an_engine_that_is_silent_for_longer_than_its_limit_is_stalled(time: Time, clocks: JobClocks) -> None:
    clocks.begin_inference()
    time.now += 20
    assert not clocks.is_stalled
    clocks.begin_inference()
    time.now += 20
    assert not clocks.is_stalled
    time.now += 1
    assert clocks.is_stalled


def test_an_outage_of_the_record_counts_neither_as_inference_nor_as_a_stall(
    time: Time, clocks: JobClocks
) -> None:
    clocks.begin_inference()
    time.now += 10
    with clocks.excuse_outage():
        time.now += 500
    assert (clocks.inference_ms, clocks.is_stalled) == (10_000, False)
    time.now += 10
    assert (clocks.inference_ms, clocks.is_stalled) == (20_000, False)


def test_an_outage_that_follows_the_first_report_is_excused_from_there(time: Time, clocks: JobClocks) -> None:
    with clocks.excuse_outage():
        clocks.begin_inference()
        time.now += 500
    assert (clocks.inference_ms, clocks.is_inferring) == (0, True)


def test_an_outage_while_loading_does_not_move_the_clock(time: Time, clocks: JobClocks) -> None:
    clocks.begin_inference()
    time.now += 10
    with clocks.excuse_outage():
        clocks.begin_loading()
        time.now += 500
    assert (clocks.inference_ms, clocks.is_inferring, clocks.is_stalled) == (10_000, False, False)


def test_fast_calls_to_the_record_are_not_outages(time: Time, clocks: JobClocks) -> None:
    clocks.begin_inference()
    for _ in range(100):
        with clocks.excuse_outage():
            time.now += 0.01
    assert clocks.inference_ms == 1000


def test_a_loading_phase_may_take_longer(time: Time, clocks: JobClocks) -> None:
    time.now += 50
    assert not clocks.is_stalled
    clocks.begin_loading()
    time.now += 50
    assert not clocks.is_stalled
    time.now += 1
    assert clocks.is_stalled


@pytest.mark.parametrize(
    ("endpoint", "duration_s", "allowed_s"),
    [
        (Endpoint.SYNC, 3600.0, 300),
        (Endpoint.STREAM, 3600.0, 300),
        (Endpoint.JOBS, 3600.0, 14_400),
        (Endpoint.JOBS, 1.0, 300),
    ],
)
def test_only_jobs_get_more_time_for_longer_audio(
    time: Time, endpoint: Endpoint, duration_s: float, allowed_s: float
) -> None:
    settings = WorkerSettings(request_timeout=300, job_timeout_factor=4)
    clocks = JobClocks(make_claim(endpoint, duration_s), settings, clock=time)
    setting = "REQUEST_TIMEOUT" if allowed_s == settings.request_timeout else "JOB_TIMEOUT_FACTOR"
    assert (clocks.limit_s, clocks.limit_setting) == (allowed_s, setting)
    clocks.begin_inference()
    time.now += allowed_s
    assert not clocks.is_inference_over
    time.now += 1
    assert clocks.is_inference_over
