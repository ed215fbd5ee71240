"""The worker's side of thousands of jobs: claims them, publishes events at a steady pace, and ends them."""

import time
import uuid
from collections.abc import Sequence

import redis

from shared.events import Partial
from shared.jobs import Claim, Endpoint, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.record.admission import submit_job
from shared.record.keys import KEY_PREFIX
from shared.record.scripts import ScriptRunner
from shared.record.transitions import emit_event, finish_job
from tests.bench.listener_process import write_mark
from tests.support.single_claims import claim_job

LEASE_S = 3_600.0
JOB_TTL_S = 3_600.0
NAME = "bench"


class Publisher:
    """A holder of the claims of `count` jobs, which publishes their events; its calls block."""

    def __init__(self, redis_url: str, count: int) -> None:
        self._redis = redis.Redis.from_url(redis_url, client_name=NAME)
        self._runner = ScriptRunner(self._redis, KEY_PREFIX)
        # All before the first claim: a submit reads each running job, to estimate the wait.
        job_ids = {self._submit() for _ in range(count)}
        self._claims = [self._claim() for _ in range(count)]
        if job_ids != {claim.job_id for claim in self._claims}:
            raise RuntimeError("there are other jobs in this queue")
        self.published: dict[str, list[int]] = {claim.job_id: [] for claim in self._claims}

    @property
    def job_ids(self) -> Sequence[str]:
        """The ids of the jobs."""
        return tuple(self.published)

    def publish(self, events: int, per_s: float) -> None:
        """Publish events at a steady pace, for one job after the other."""
        began = time.monotonic()
        for number in range(events):
            time.sleep(max(0.0, began + number / per_s - time.monotonic()))
            claim = self._claims[number % len(self._claims)]
            self.published[claim.job_id].append(number)
            # The time is taken before the call to Redis, whose duration is part of the delay.
            self._runner.run(emit_event(claim, Partial(window=0, delta=write_mark(number))))

    def end_jobs(self) -> None:
        """Make all jobs final."""
        for claim in self._claims:
            self._runner.run(finish_job(claim, JobState.CANCELLED, ttl_s=JOB_TTL_S))

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _submit(self) -> str:
        job_id = uuid.uuid4().hex
        upload = Upload(job_id, "clip.wav", 0, "", 30.0)
        job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())
        self._runner.run(submit_job(job))
        return job_id

    def _claim(self) -> Claim:
        """Claim the next job for a new worker: one worker holds one claim."""
        worker_id = f"bench:0:{uuid.uuid4().hex}"
        claim = self._runner.run(claim_job(worker_id, engine="none", model="none", lease_s=LEASE_S))
        if claim is None:
            raise RuntimeError("somebody else takes jobs from this queue")
        return claim
