"""The record on a real server agrees with a model in Python, also for late and repeated calls."""

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.events import Partial
from shared.jobs import (
    Claim,
    Directive,
    Endpoint,
    Failure,
    FailureCode,
    JobState,
    NewJob,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record import transitions
from shared.record.admission import Outcome, submit_job
from shared.record.claims import BatchRoom, Claimant, beat_claims, claim_jobs
from shared.record.listeners import cancel_unattended, renew_listener_leases
from shared.record.readings import LOG_START, Absence, find_job, list_jobs
from shared.record.scripts import ScriptRunner
from shared.transcripts import FinishedWindow, Segment
from tests.support.record_model import BATCH, ROW_S, WINDOW_AUDIO_S, ModelClaim, RecordModel
from tests.support.record_readings import read_job, read_log

TTL_S = 600.0
JOBS = 24
FAILURE = Failure(FailureCode.ENGINE_ERROR, "it failed")

keys = st.sampled_from(["", "lab", "shop"])
rows = st.sampled_from([0, 1, 1, 2, 4, 8])
turns = st.sampled_from([0.0, 8.0])
workers = st.sampled_from(["w1", "w2", "w3"])
lengths = st.sampled_from([0.3, 4.0, 10.0, 37.5])
picks = st.integers(min_value=0, max_value=1_000)


class RecordMachine(RuleBasedStateMachine):
    """Makes every call on the record and on its model, and compares the answers and then all jobs."""

    redis_url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self._connection = redis.Redis.from_url(self.redis_url)
        self._connection.flushall()
        self._run = ScriptRunner(self._connection, "test:").run
        self._model = RecordModel()
        self._new_jobs: list[NewJob] = []
        self._claims: list[Claim] = []
        self._first_tags: dict[str, int] = {}
        self._promised: set[str] = set()
        self._listened: set[str] = set()
        self._steps = 0

    def teardown(self) -> None:
        """Look at all jobs once more."""
        for job in self._new_jobs:
            self._compare(job.job_id)
        self._connection.close()

    # A rule for each class, as some runs do without some rules: else batch jobs would seldom be claimed.
    @precondition(lambda self: len(self._new_jobs) < JOBS)
    @rule(key=keys, audio_s=lengths, count=st.integers(min_value=1, max_value=4))
    def submit_interactive(self, key: str, audio_s: float, count: int) -> None:
        self._submit(key, Priority.INTERACTIVE, audio_s, count)

    @precondition(lambda self: len(self._new_jobs) < JOBS)
    @rule(key=keys, audio_s=lengths, count=st.integers(min_value=1, max_value=4))
    def submit_batch(self, key: str, audio_s: float, count: int) -> None:
        self._submit(key, Priority.BATCH, audio_s, count)

    def _submit(self, key: str, priority: Priority, audio_s: float, count: int) -> None:
        for _ in range(count):
            job_id = f"job{len(self._new_jobs)}"
            upload = Upload(job_id, "a.wav", size_bytes=1, sha256="", duration_s=audio_s)
            job = NewJob(job_id, Endpoint.JOBS, priority, upload, TranscriptionRequest(), key)
            self._new_jobs.append(job)
            lease_s = 600 if len(self._new_jobs) % 3 == 0 else 0
            assert self._run(submit_job(job, listener_lease_s=lease_s)).outcome is Outcome.SUBMITTED
            self._listened |= {job_id} if lease_s else set()
            self._model.submit(job_id, key, BATCH if priority is Priority.BATCH else 0, audio_s)

    @precondition(lambda self: self._model.jobs)
    @rule(pick=picks)
    def submit_again(self, pick: int) -> None:
        known = [job for job in self._new_jobs if job.job_id in self._model.jobs]
        assert self._run(submit_job(known[pick % len(known)])).outcome is Outcome.REPEATED

    @rule(worker=workers, rows=rows, rows_taken=st.integers(0, 3), turn_s=turns)
    def claim(self, worker: str, rows: int, rows_taken: int, turn_s: float) -> None:
        held = self._claims_of(worker)
        self._claim(worker, held, rows=(rows, max(0, rows - rows_taken)), turn_s=turn_s)

    @precondition(lambda self: self._claims)
    @rule(worker=workers, picked=st.lists(picks, max_size=3), rows=st.sampled_from([0, 0, 4]), turn_s=turns)
    def claim_with_any_claims_in_hand(self, worker: str, picked: list[int], rows: int, turn_s: float) -> None:
        held = {_of(claim): claim for claim in map(self._pick, picked)}
        self._claim(worker, list(held.values()), rows=(rows, rows), turn_s=turn_s)

    @rule(worker=workers, count=st.sampled_from([1, 4, 10]))
    def claim_and_give_back(self, worker: str, count: int) -> None:
        for _ in range(count):
            for claim in self._claim(worker):
                self._give_back(claim, 0)

    def _claim(
        self,
        worker: str,
        held: Sequence[Claim] = (),
        *,
        rows: tuple[int, int] = (1, 1),
        turn_s: float = 0.0,
    ) -> tuple[Claim, ...]:
        claimant = Claimant(worker, "e", "m", lease_s=600, batch_turn_s=turn_s)
        room = BatchRoom(interactive_rows=rows[0], batch_rows=rows[1], window_s=ROW_S)
        group = self._run(claim_jobs(claimant, room, held=held))
        claims, directives = self._model.claim(worker, [*map(_of, held)], rows=rows, turn_s=turn_s)
        assert [_of(claim) for claim in group.claims] == claims
        assert list(group.directives) == directives
        for claim in group.claims:
            job = self._model.jobs[claim.job_id]
            assert (claim.checkpoint.windows, claim.inference_ms) == (job.windows, job.inference_ms)
            assert claim.attempt == 1 + job.losses + job.crashes
            if claim not in self._claims:
                self._claims.append(claim)
        return group.claims

    def _claims_of(self, worker: str) -> list[Claim]:
        """The claims that a worker holds, all known to it."""
        return [
            claim
            for claim in self._claims
            if (job := self._model.holder(_of(claim))) is not None and job.owner == worker
        ]

    @precondition(lambda self: self._claims)
    @rule(picked=st.lists(picks, min_size=1, max_size=4))
    def beat(self, picked: list[int]) -> None:
        claims = [self._pick(pick) for pick in picked]
        expected = [self._model.direct(_of(claim)) for claim in claims]
        directives = self._run(beat_claims(claims, lease_s=600))
        assert list(directives) == expected

    @precondition(lambda self: self._claims)
    @rule(pick=picks)
    def emit(self, pick: int) -> None:
        claim = self._pick(pick)
        event = Partial(window=0, delta="x")
        assert self._run(transitions.emit_event(claim, event)) is self._model.direct(_of(claim))

    @precondition(lambda self: self._claims)
    @rule(pick=picks, count=st.sampled_from([1, 1, 3, 10]), took_ms=picks)
    def finish_windows(self, pick: int, count: int, took_ms: int) -> None:
        claim = self._pick(pick)
        for _ in range(count):
            job = self._model.jobs.get(claim.job_id)
            self._finish_window(claim, job.windows if job else 0, took_ms=took_ms)

    @precondition(lambda self: self._claims)
    @rule(pick=picks, took_ms=picks)
    def finish_a_window_again(self, pick: int, took_ms: int) -> None:
        self._finish_window(self._pick(pick), 0, took_ms=took_ms)

    @precondition(lambda self: self._claims)
    @rule(pick=picks, took_ms=picks)
    def give_back(self, pick: int, took_ms: int) -> None:
        self._give_back(self._pick(pick), took_ms)

    def _give_back(self, claim: Claim, took_ms: int) -> None:
        call = transitions.yield_job(claim, reason="yielded", inference_ms=took_ms)
        assert self._run(call) == self._model.give_back(_of(claim), took_ms)

    @precondition(lambda self: self._claims)
    @rule(pick=picks)
    def crash(self, pick: int) -> None:
        self._crash([self._pick(pick)])

    @precondition(lambda self: self._claims)
    @rule(picked=st.lists(picks, min_size=2, max_size=4))
    def crash_a_group(self, picked: list[int]) -> None:
        self._crash([*{_of(claim): claim for claim in map(self._pick, picked)}.values()])

    @rule(worker=workers)
    def crash_the_group_of_a_worker(self, worker: str) -> None:
        self._crash(self._claims_of(worker))

    def _crash(self, claims: Sequence[Claim]) -> None:
        answer = self._run(transitions.report_engine_crash([(claim, 0) for claim in claims], ttl_s=TTL_S))
        assert list(answer) == self._model.crash([*map(_of, claims)])

    @precondition(lambda self: self._claims)
    @rule(
        pick=picks,
        state=st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]),
        took_ms=picks,
    )
    def finish(self, pick: int, state: JobState, took_ms: int) -> None:
        claim = self._pick(pick)
        failure = FAILURE if state is JobState.FAILED else None
        call = transitions.finish_job(claim, state, inference_ms=took_ms, failure=failure, ttl_s=TTL_S)
        assert self._run(call) == self._model.finish(_of(claim), state, took_ms)

    @precondition(lambda self: self._claims)
    @rule(pick=picks)
    def lose_worker(self, pick: int) -> None:
        claim = self._pick(pick)
        if self._run(beat_claims([claim], lease_s=0)) == (Directive.STALE,):
            assert self._sweep() == []
            return
        while not (lost := self._sweep()):
            time.sleep(0.001)
        assert lost == [claim.job_id]
        self._model.lose(_of(claim))

    @rule()
    def sweep(self) -> None:
        assert self._sweep() == []

    @precondition(lambda self: self._listened)
    @rule(pick=picks)
    def lose_listener(self, pick: int) -> None:
        job_id = sorted(self._listened)[pick % len(self._listened)]
        assert self._run(renew_listener_leases([job_id])) == 1
        self._connection.zadd("test:listener_leases", {job_id: 0})
        assert [*self._run(cancel_unattended(ttl_s=TTL_S))] == [job_id]
        self._listened.remove(job_id)
        if self._model.cancel(job_id) is JobState.RUNNING:
            self._promised.add(job_id)

    @precondition(lambda self: self._model.jobs)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        self._cancel(self._new_jobs[pick % len(self._new_jobs)].job_id)

    @precondition(lambda self: self._claims)
    @rule(pick=picks)
    def cancel_what_was_claimed(self, pick: int) -> None:
        self._cancel(self._pick(pick).job_id)

    @precondition(lambda self: self._model.jobs)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        job_id = self._new_jobs[pick % len(self._new_jobs)].job_id
        assert self._run(transitions.delete_job(job_id)) is self._model.delete(job_id)

    @precondition(lambda self: len(self._new_jobs) >= JOBS)
    @rule()
    def expire(self) -> None:
        expired = self._run(transitions.expire_queued(queue_ttl_s=-1, ttl_s=TTL_S))
        assert set(expired) == self._model.expire()

    @rule(key=st.none() | keys.filter(bool), states=st.sets(st.sampled_from(JobState)), limit=picks)
    def list_page_by_page(self, key: str | None, states: set[JobState], limit: int) -> None:
        found, after, is_end = [], None, False
        while not is_end:
            page = self._run(list_jobs(limit=1 + limit % 5, key_name=key, states=states, after=after))
            found += [listed.job.job_id for listed in page.jobs]
            after, is_end = page.looked_to, page.is_end
        assert found == self._model.list_jobs(key, states)

    @invariant()
    def the_queue_is_in_the_order_of_the_model(self) -> None:
        queued: Any = self._connection.zrange("test:queued", 0, -1)
        assert [job_id.decode() for job_id in queued] == self._model.queue()

    @invariant()
    def each_job_in_turn_is_as_the_model_says(self) -> None:
        self._steps += 1
        if self._new_jobs:
            self._compare(self._new_jobs[self._steps % len(self._new_jobs)].job_id)

    @invariant()
    def nothing_is_held_but_what_runs(self) -> None:
        running = {job_id: job.owner for job_id, job in self._model.jobs.items() if job.owner}
        names: Any = self._connection.keys("test:held:*")
        lists: Any = {name.decode(): self._connection.lrange(name, 0, -1) for name in names}
        held = {job_id.decode(): name.removeprefix("test:held:") for name in lists for job_id in lists[name]}
        assert held == running
        assert self._connection.zcard("test:running") == len(running)
        unclaimed = sum(
            job.state is JobState.QUEUED and not job.claim_no for job in self._model.jobs.values()
        )
        assert self._connection.zcard("test:unclaimed") == unclaimed

    @invariant()
    def only_unfinished_jobs_have_a_listener_lease(self) -> None:
        jobs = self._model.jobs
        self._listened = {
            job_id for job_id in self._listened if job_id in jobs and not jobs[job_id].state.is_final
        }
        leases: Any = self._connection.zrange("test:listener_leases", 0, -1)
        assert {job_id.decode() for job_id in leases} == self._listened

    @invariant()
    def no_place_moves_by_more_than_was_served(self) -> None:
        for job_id, job in self._model.jobs.items():
            tag = self._place_of(job_id)[1]
            first = self._first_tags.setdefault(job_id, tag)
            assert first <= tag <= first + job.processed_s

    @invariant()
    def only_final_jobs_wait_to_be_forgotten(self) -> None:
        final = {f"{job_id} {job.key}" for job_id, job in self._model.jobs.items() if job.state.is_final}
        kept: Any = self._connection.zrange("test:kept_until", 0, -1)
        assert {name.decode() for name in kept} == final

    @invariant()
    def audio_is_discarded_of_cancelled_jobs_alone(self) -> None:
        discarded: Any = self._connection.smembers("test:discarded")
        cancelled = {job_id for job_id, job in self._model.jobs.items() if job.state is JobState.CANCELLED}
        assert {job_id.decode() for job_id in discarded} & self._model.jobs.keys() == cancelled

    def _compare(self, job_id: str) -> None:
        job, expected = self._run(read_job(job_id)), self._model.jobs.get(job_id)
        page = self._run(read_log(job_id, after_id=LOG_START))
        owners = {"", "lab", "shop"}
        seen_by = {owner for owner in owners if self._run(find_job(job_id, owner=owner)) == job}
        assert seen_by == ({expected.key} if expected else set())
        if job is None or expected is None or page is None:
            assert (job, expected, page) == (None, None, None)
            return
        queue = self._model.queue()
        assert (job.state, job.attempt) == (expected.state, 1 + expected.losses + expected.crashes)
        if job_id in self._promised:
            assert job.state in (JobState.RUNNING, JobState.CANCELLED)
        assert job.position == (queue.index(job_id) if job_id in queue else None)
        assert [segment.text for segment in job.segments] == [str(n) for n in range(expected.windows)]
        assert (job.processed_s, job.inference_ms) == (expected.processed_s, expected.inference_ms)
        assert self._place_of(job_id) == expected.place
        finals = [logged.event.is_final for logged in page.events]
        assert sum(finals) == int(job.state.is_final)
        assert finals[-1] is job.state.is_final

    def _cancel(self, job_id: str) -> None:
        was = self._run(transitions.cancel_job(job_id, ttl_s=TTL_S))
        assert was is (self._model.cancel(job_id) or Absence.UNKNOWN)
        if was is JobState.RUNNING:
            self._promised.add(job_id)

    def _finish_window(self, claim: Claim, window: int, *, took_ms: int) -> None:
        segments = (Segment(0.0, 1.0, str(window), "en"),)
        finished = FinishedWindow(
            segments, window=window, resume_sample=round((window + 1) * WINDOW_AUDIO_S * 16_000)
        )
        answer = self._run(transitions.finish_window(claim, finished, inference_ms=took_ms))
        assert answer is self._model.finish_window(_of(claim), window, inference_ms=took_ms)

    def _place_of(self, job_id: str) -> tuple[int, int, int]:
        score: Any = self._connection.hget(f"test:job:{job_id}", "score")
        class_and_tag, number = divmod(int(score), 2**14)
        return *divmod(class_and_tag, 2**38), number

    def _pick(self, pick: int) -> Claim:
        """One of all claims there ever were, most often one of late."""
        return self._claims[-1 - min(pick % 7, pick % len(self._claims), len(self._claims) - 1)]

    def _sweep(self) -> list[str]:
        return [*self._run(transitions.sweep_expired_leases(ttl_s=TTL_S))]


def _of(claim: Claim) -> ModelClaim:
    return ModelClaim(claim.job_id, claim.claim_no)


@pytest.mark.parametrize("runs", [50, pytest.param(250, marks=pytest.mark.full)])
def test_the_record_does_what_the_model_says(redis_url: str, runs: int) -> None:
    class Machine(RecordMachine):
        pass

    Machine.redis_url = redis_url
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
