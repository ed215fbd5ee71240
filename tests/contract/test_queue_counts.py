"""The counts of the queue equal a recount after every step."""

import itertools
from collections.abc import Callable

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import QueueFull
from shared.jobs import (
    Claim,
    Endpoint,
    Failure,
    FailureCode,
    Job,
    JobState,
    NewJob,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record import transitions
from shared.record.admission import check_admission, make_policy, submit_job
from shared.record.readings import find_job
from shared.record.scripts import ScriptRunner
from shared.transcripts import FinishedWindow
from tests.support.record_readings import read_job
from tests.support.redis_fixture import RedisServer
from tests.support.single_claims import claim_job, crash_engine

KEYS = ("", "lab", "shop")
WORKERS = ("w1", "w2")
FAILURE = Failure(FailureCode.ENGINE_ERROR, "it failed")

_prefixes = itertools.count()


class Queue:
    """One record and what a test does to it; every step that cannot be taken now does nothing."""

    def __init__(self, runner: ScriptRunner) -> None:
        self._runner = runner
        self._job_ids: list[str] = []
        self._claims: dict[str, Claim] = {}

    def submit(self, key_name: str, duration_s: float, priority: Priority) -> None:
        job_id = str(len(self._job_ids))
        upload = Upload(job_id, "a.wav", 1, "00", duration_s)
        job = NewJob(job_id, Endpoint.JOBS, priority, upload, TranscriptionRequest(), key_name)
        try:
            self._runner.run(submit_job(job, make_policy(key_name=key_name)))
            self._job_ids.append(job_id)
        except QueueFull:
            return

    def claim(self, worker: str, lease_s: float) -> None:
        claim = self._runner.run(claim_job(worker, engine="e", model="m", lease_s=lease_s))
        if claim:
            self._claims[worker] = claim

    def finish_window(self, worker: str, share: float) -> None:
        if claim := self._claims.get(worker):
            resume_sample = round(claim.upload.duration_s * share * 16_000)
            finished = FinishedWindow((), window=claim.checkpoint.windows, resume_sample=resume_sample)
            self._runner.run(transitions.finish_window(claim, finished, inference_ms=100))

    def end_claim(self, worker: str, end: str) -> None:
        if not (claim := self._claims.pop(worker, None)):
            return
        match end:
            case "succeed":
                self._runner.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=60))
            case "fail":
                self._runner.run(transitions.finish_job(claim, JobState.FAILED, failure=FAILURE, ttl_s=60))
            case "cancel":
                self._runner.run(transitions.finish_job(claim, JobState.CANCELLED, ttl_s=60))
            case "crash":
                self._runner.run(crash_engine(claim, ttl_s=60))
            case "yield":
                self._runner.run(transitions.yield_job(claim, reason="stopping"))

    def sweep(self, queue_ttl_s: float) -> None:
        self._runner.run(transitions.sweep_expired_leases(ttl_s=60))
        self._runner.run(transitions.expire_queued(queue_ttl_s=queue_ttl_s, ttl_s=60))

    def cancel(self, number: int) -> None:
        self._runner.run(transitions.cancel_job(str(number), ttl_s=60))

    def delete(self, number: int) -> None:
        self._runner.run(transitions.delete_job(str(number)))

    def check(self) -> None:
        """Compare what is counted with what is there."""
        jobs = [self._runner.run(read_job(job_id)) for job_id in self._job_ids]
        queued = [job for job in jobs if job and job.state is JobState.QUEUED]
        running = [job for job in jobs if job and job.state is JobState.RUNNING]
        of_key = {key_name: self._ids_of(key_name, (*queued, *running)) for key_name in KEYS}
        for key_name in KEYS:
            backlog = self._runner.run(check_admission(make_policy(key_name=key_name))).backlog
            assert backlog.queued_jobs == len(queued)
            assert abs(backlog.queued_audio_s - audio_left_s(queued)) < 0.002 * (len(queued) + 1)
            assert abs(backlog.running_ms / 1000 - audio_left_s(running)) < 0.002 * (len(running) + 1)
            if key_name:
                assert backlog.unfinished_jobs_of_key == len(of_key[key_name])
                own = [job for job in queued if job.job_id in of_key[key_name]]
                assert abs(backlog.queued_of_key_ms / 1000 - audio_left_s(own)) < 0.002 * (len(own) + 1)
            if not queued:
                assert backlog.queued_audio_s == 0

    def _ids_of(self, key_name: str, jobs: tuple[Job, ...]) -> set[str]:
        found = {job.job_id: find_job(job.job_id, owner=key_name) for job in jobs}
        return {job_id for job_id, call in found.items() if isinstance(self._runner.run(call), Job)}


def audio_left_s(jobs: list[Job]) -> float:
    return sum(max(0.0, job.upload.duration_s - job.processed_s) for job in jobs)


def step(name: str, *args: st.SearchStrategy[object]) -> st.SearchStrategy[Callable[[Queue], None]]:
    """Strategy for one step: a method of `Queue`, with its arguments drawn."""

    def bind(drawn: tuple[object, ...]) -> Callable[[Queue], None]:
        return lambda queue: getattr(queue, name)(*drawn)

    return st.tuples(*args).map(bind)


workers, numbers = st.sampled_from(WORKERS), st.integers(0, 7)
STEPS = st.one_of(
    step("submit", st.sampled_from(KEYS), st.floats(0.1, 30), st.sampled_from(Priority)),
    step("claim", workers, st.sampled_from([0.0, 30.0])),
    step("finish_window", workers, st.sampled_from([0.1, 0.333, 0.9, 1.0])),
    step("end_claim", workers, st.sampled_from(["succeed", "fail", "cancel", "crash", "yield"])),
    step("sweep", st.sampled_from([0.0, 3_600.0])),
    step("cancel", numbers),
    step("delete", numbers),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=25))
def test_the_counts_are_those_of_a_recount(
    session_redis: RedisServer, steps: list[Callable[[Queue], None]]
) -> None:
    with redis.Redis.from_url(session_redis.url) as connection:
        queue = Queue(ScriptRunner(connection, f"counts-{next(_prefixes)}:"))
        for take in steps:
            take(queue)
            queue.check()
