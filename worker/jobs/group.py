"""The group of jobs that a worker holds: their rows share the batches of one model process."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import structlog

from shared.errors import QueueUnavailable
from shared.jobs import Claim, FailureCode
from worker.jobs.stop_rules import StopReason
from worker.jobs.transcription import Transcription
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied

POLL_S = 0.05
"""Seconds between two looks at the stop rules in silence, and between two claims for a running batch."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GroupTools:
    """The collaborators of every group of a worker, and its times in seconds.

    `open_job` returns the transcription of a claim, whose lease is renewed until `close_job`.
    `claim_companions` claims jobs beside the jobs held, and applies yields to these: before a batch, and if
    rows can join also in it, when windows are done or `is_woken` is set. `report_crash` reports the death of
    the model process. `announce_worker` publishes the worker's state. These three may raise QueueUnavailable.
    """

    host: ModelHost
    open_job: Callable[[Claim], Transcription]
    close_job: Callable[[Transcription], None]
    claim_companions: Callable[[Sequence[Transcription]], Sequence[Claim]]
    report_crash: Callable[[Sequence[Transcription]], None]
    announce_worker: Callable[[], None]
    is_woken: threading.Event
    cancel_grace_s: float
    batch_wait_s: float
    max_batch_s: float
    window_s: float


class Group:
    """The work on some claims and their companions. `run` returns when no job is left.

    gathering --decode_batch--> decoding --BatchDecoded--> gathering. Jobs of a cold model wait in its
    process; gathering then begins with `Loaded`. If the engine joins rows, jobs come and go during a batch.
    """

    def __init__(self, tools: GroupTools) -> None:
        self._tools = tools
        self._host = tools.host
        self._jobs: dict[int, Transcription] = {}  # by their run
        self._window_at = self._claimed_at = 0.0
        self._has_free_rows = False  # whether windows are done since the last claim

    def run(self, claims: Sequence[Claim]) -> None:
        """Transcribe the jobs, and record how each of them ended."""
        try:
            self._begin(claims)
            if self._host.state.is_loaded and not self._host.is_decoding:
                self._wait_for_companions()
                self._decode_batch()
            while self._jobs:
                self._step()
            self._wait_for_engine()
        except ModelProcessDied:
            self._report_crash()
        except QueueUnavailable:  # the leases are long over: the sweepers decide about the jobs
            if not self._host.is_idle:
                self._host.unload("redis_away")
            raise
        except Exception:  # border of the group: an uncounted error would be tried for ever
            _logger.exception("group_failed")
            self._host.give_up()
            self._report_crash()
        finally:
            for job in self._jobs.values():
                self._tools.close_job(job)

    def _begin(self, claims: Sequence[Claim]) -> None:
        """Send the jobs to the model process.

        Raises:
            ModelProcessDied: it died. All jobs count as being in it, also those that were not sent yet.
        """
        opened = [self._tools.open_job(claim) for claim in claims]
        self._jobs |= {-number: job for number, job in enumerate(opened, start=1)}
        for number, job in enumerate(opened, start=1):
            with _naming(job):
                _logger.info("job_claimed", attempt=job.claim.attempt, jobs=len(self._jobs))
                job.begin()
            self._jobs[job.run] = self._jobs.pop(-number)
            self._close_if_over(job)

    def _wait_for_companions(self) -> None:
        """Let more jobs come before the first batch, until it is full. It is not inference."""
        ends_at = time.monotonic() + self._tools.batch_wait_s
        while len(self._jobs) < self._host.max_rows and (left_s := ends_at - time.monotonic()) > 0:
            for job in self._jobs.values():
                job.rules.clocks.rest()
            self._tools.is_woken.wait(left_s)
            self._claim_companions()

    def _step(self) -> None:
        report = self._host.receive(POLL_S)
        if report is not None:
            with self._excuse_outage():
                self._on_report(report)
        is_alone = len(self._jobs) == 1 and not self._host.has_dropped_runs
        for job in list(self._jobs.values()):
            job.rules.clocks.is_alone = is_alone
            with _naming(job):
                job.apply_stop_rules()
            self._close_if_over(job)
        self._claim_during_batch()
        if any(job.rules.find_reason() is StopReason.STALLED for job in self._jobs.values()):
            _logger.error("engine_stalled")
            self._host.give_up()
            self._report_crash()

    def _on_report(self, report: messages.Report) -> None:
        match report:
            case messages.LoadPhaseBegun() | messages.Loaded():
                for job in self._jobs.values():
                    job.on_load_report(report)
                if isinstance(report, messages.Loaded) and not self._host.is_decoding:
                    self._on_boundary()
            case messages.LoadFailed(message=message):
                self._fail_all(message)
            case messages.BatchDecoded():
                self._note_batch(report)
                self._on_boundary()
            case messages.RunMessage():
                self._on_run_report(report)

    def _on_run_report(self, report: messages.RunReport) -> None:
        for job in self._jobs.values():  # the process is alive, for all of them
            job.rules.clocks.begin_inference()
        if (reported := self._jobs.get(report.run)) is None:
            return
        now = time.monotonic()
        cost_ms = round((now - self._window_at) * 1000)
        if isinstance(report, messages.WindowDecoded | messages.JobDecoded):
            self._window_at = now
            self._has_free_rows = True
        with _naming(reported):
            reported.on_report(report, cost_ms=cost_ms)
        self._close_if_over(reported)

    def _note_batch(self, batch: messages.BatchDecoded) -> None:
        if batch.rows:
            rows = f"{batch.rows}/{batch.max_rows}"
            _logger.info(
                "batch_decoded", rows=rows, jobs=batch.jobs, audio_s=batch.audio_s, took_s=batch.took_s
            )

    def _on_boundary(self) -> None:
        """Stop the jobs that have a reason, take companions in, and let the others go on."""
        if self._stop_at_boundary():
            self._claim_companions()
        if self._stop_at_boundary():
            self._decode_batch()

    def _stop_at_boundary(self) -> bool:
        """Return whether a job goes on."""
        for job in self._jobs.values():
            with _naming(job):
                job.stop_at_boundary()
        return not all(job.is_stopping for job in self._jobs.values())

    def _claim_during_batch(self) -> None:
        """Let companions join the batch, if the engine can and rows may be free or jobs have come."""
        is_due = self._has_free_rows or self._tools.is_woken.is_set()
        is_joining = is_due and self._host.joins_rows and self._host.is_decoding
        goes_on = not all(job.is_stopping for job in self._jobs.values())
        if is_joining and goes_on and time.monotonic() - self._claimed_at >= POLL_S:
            self._claim_companions()

    def _claim_companions(self) -> None:
        self._tools.is_woken.clear()  # before the claim: a later wake-up means a job that it may miss
        self._has_free_rows, self._claimed_at = False, time.monotonic()
        try:
            claims = self._tools.claim_companions(list(self._jobs.values()))
        except QueueUnavailable:
            _logger.warning("companions_not_claimed", reason="Redis does not answer")
        else:
            self._begin(claims)

    def _decode_batch(self) -> None:
        """Begin a batch. A fixed one takes at most about MAX_BATCH_S, at the speed of the last one."""
        self._window_at = time.monotonic()
        for job in self._jobs.values():
            job.rules.clocks.end_rest()
        max_rows, row_s = 0, self._tools.window_s * self._host.audio_second_s
        if row_s and self._tools.max_batch_s and not self._host.joins_rows:
            max_rows = max(len(self._jobs), int(self._tools.max_batch_s / row_s))
        self._host.decode_batch(max_rows)

    def _fail_all(self, message: str) -> None:
        self._host.unload("load_failed")
        with suppress(QueueUnavailable):  # `/ready` reports the failure as soon as a client has it
            self._tools.announce_worker()
        for job in list(self._jobs.values()):
            with _naming(job):
                job.fail(FailureCode.MODEL_UNAVAILABLE, message)
            self._close_if_over(job)

    def _wait_for_engine(self) -> None:
        """Wait until the last batch is done. An engine that goes on with dropped jobs is ended."""
        deadline = time.monotonic() + self._tools.cancel_grace_s
        while not self._host.is_idle:
            if self._host.has_dropped_runs:
                self._host.end_dropped_jobs()
                continue
            report = self._host.receive(POLL_S)
            if isinstance(report, messages.BatchDecoded):
                self._note_batch(report)
            if time.monotonic() > deadline:
                self._host.unload("batch_not_ended")

    def _report_crash(self) -> None:
        jobs, self._jobs = list(self._jobs.values()), {}
        try:
            if jobs:
                self._tools.report_crash(jobs)
        finally:
            for job in jobs:
                self._tools.close_job(job)

    def _close_if_over(self, job: Transcription) -> None:
        if job.is_over and self._jobs.pop(job.run, None) is not None:
            self._tools.close_job(job)

    @contextmanager
    def _excuse_outage(self) -> Iterator[None]:
        with ExitStack() as clocks:
            for job in self._jobs.values():
                clocks.enter_context(job.rules.clocks.excuse_outage())
            yield


@contextmanager
def _naming(job: Transcription) -> Iterator[None]:
    with structlog.contextvars.bound_contextvars(job_id=job.claim.job_id):
        yield
