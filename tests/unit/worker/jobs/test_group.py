"""Each job of a group ends in the record in its own way, and no model process is left at work on it."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from shared.audio_format import AudioStart
from shared.capabilities import ModelState
from shared.errors import MediaServiceDown, QueueUnavailable
from shared.jobs import (
    Checkpoint,
    Claim,
    Directive,
    Endpoint,
    Failure,
    FailureCode,
    JobState,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.media.client import MediaService
from shared.transcripts import FinishedWindow, Segment, TokenCounts, TranscriptWarning, WarningCode
from shared.upload_store import UploadStore
from worker.jobs.clocks import JobClocks
from worker.jobs.group import Group, GroupTools
from worker.jobs.job_audio import AudioOpener
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import ClaimState, StopRules
from worker.jobs.transcription import JobTools, Transcription
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied
from worker.settings import WorkerSettings

UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=9.0)
CLAIM = Claim(
    "a",
    Endpoint.SYNC,
    Priority.BATCH,
    UPLOAD,
    TranscriptionRequest(),
    claim_no=1,
    attempt=1,
    checkpoint=Checkpoint(),
)


class FakeRecorder:
    """A record of one job that collects windows and endings. It answers a stored window with `directive`."""

    def __init__(self, directive: Directive = Directive.GO_ON) -> None:
        self.endings: list[object] = []
        self.stored: list[FinishedWindow] = []
        self.inference_ms: list[int] = []
        self.ended_ms = 0
        self.state: ClaimState
        self._directive = directive

    def store_window(self, finished: FinishedWindow, *, inference_ms: int, cost_ms: int) -> None:
        self.stored.append(finished)
        self.inference_ms.append(inference_ms)
        self.state.apply(self._directive)

    def succeed_after(self, last: FinishedWindow, *, inference_ms: int, cost_ms: int) -> None:
        self.store_window(last, inference_ms=inference_ms, cost_ms=cost_ms)
        self.endings.append("succeeded after its last window")

    def emit(self, event: object) -> None:
        pass

    def end(self, state: JobState, failure: Failure | None = None, *, inference_ms: int) -> None:
        self.endings.append(failure.code if failure else state)
        self.ended_ms = inference_ms

    def report_crash(self, *, inference_ms: int) -> str:
        return "crashed"

    def log_crash(self, outcome: str, *, inference_ms: int) -> None:
        self.endings.append(outcome)

    def requeue(self, reason: str, *, inference_ms: int) -> None:
        self.endings.append((reason, inference_ms))


class RecorderWithoutRedis(FakeRecorder):
    """A record that an outage outlasts."""

    def store_window(self, finished: FinishedWindow, *, inference_ms: int, cost_ms: int) -> None:
        raise QueueUnavailable


class FakeHost:
    """A loaded model process that reports or raises what a test chose, and writes down its orders."""

    def __init__(self, *reports: messages.Report | Exception | None, max_rows: int = 4) -> None:
        self.state = ModelState.READY
        self.is_idle = True
        self.is_decoding = False
        self.has_dropped_runs = False
        self.max_rows = max_rows
        self.joins_rows = False
        self.audio_second_s = 0.0
        self.is_unloaded = False
        self.is_given_up = False
        self.orders: list[object] = []
        self._reports = list(reports)
        self._runs = 0

    def begin_job(self, claim: Claim, audio_fd: int, *, has_stored_samples: bool = False) -> int:
        self._runs += 1
        self.orders.append(("begin", claim.job_id))
        return self._runs

    def receive(self, timeout_s: float) -> messages.Report | None:
        report = self._reports.pop(0)
        if isinstance(report, Exception):
            raise report
        self.is_decoding = self.is_decoding and not isinstance(report, messages.BatchDecoded)
        return report

    def unload(self, reason: str = "idle", **_facts: object) -> None:
        self.is_unloaded = True

    def give_up(self) -> None:
        self.is_given_up = True

    def decode_batch(self, max_rows: int) -> None:
        self.is_decoding = True
        self.orders.append(("decode", max_rows) if max_rows else "decode")

    def stop_job(self, run: int, *, finishes_windows: bool = False) -> None:
        self.orders.append(("finish" if finishes_windows else "stop", run))

    def drop_job(self, run: int, **_facts: object) -> None:
        self.orders.append(("drop", run))
        self.has_dropped_runs, self.is_idle = True, False

    def end_dropped_jobs(self) -> None:
        self.orders.append("end dropped")
        self.has_dropped_runs, self.is_idle = False, True


class FakeMedia:
    """A decoder that starts after these errors."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def decode_into(
        self,
        path: Path,
        pipe_fd: int,
        *,
        declared_duration_s: float,
        start: AudioStart,
        audio_track: tuple[str, ...],
    ) -> None:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)


class Clock:
    """A clock that is a tenth of a second later each time it is read."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.1
        return self._now


class SetClock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """A worker with fakes around its group: jobs `a`, `b`, `c` … have `recorders`, in this order."""

    def __init__(
        self,
        host: FakeHost,
        *recorders: FakeRecorder,
        media: FakeMedia | None = None,
        make_clocks: Callable[[Claim], JobClocks] | None = None,
        companions: Sequence[Claim] = (),
        batch_wait_s: float = 0,
    ) -> None:
        self.recorders = list(recorders)
        self.open: list[str] = []
        self.crashed: list[list[str]] = []
        self.claim_calls = 0
        self.is_announced = False
        self.is_woken = threading.Event()
        self._make_clocks = make_clocks or (lambda claim: clocks_of(claim, lambda: 0.0))
        self._companions = list(companions)
        self._tools = JobTools(
            cast(ModelHost, host),
            AudioOpener(
                cast(MediaService, media or FakeMedia()),
                UploadStore(Path("uploads")),
                patience_s=0.5,
                retry_s=0.001,
            ),
            cancel_grace_s=0,
            stop_grace_s=1,
        )
        self._waiting = iter(self.recorders)
        self.group = Group(
            GroupTools(
                host=cast(ModelHost, host),
                open_job=self._open_job,
                close_job=lambda job: self.open.remove(job.claim.job_id),
                claim_companions=self._claim_companions,
                report_crash=self._report_crash,
                announce_worker=self._announce,
                is_woken=self.is_woken,
                cancel_grace_s=0,
                batch_wait_s=batch_wait_s,
                max_batch_s=10,
                window_s=30,
            )
        )

    @property
    def endings(self) -> list[list[object]]:
        """The endings of each job."""
        return [recorder.endings for recorder in self.recorders]

    def submit(self, claims: Sequence[Claim]) -> None:
        """Let the next call claim these jobs."""
        self._companions += claims

    def _open_job(self, claim: Claim) -> Transcription:
        recorder = next(self._waiting)
        if not hasattr(recorder, "state"):
            recorder.state = ClaimState(claim)
        self.open.append(claim.job_id)
        rules = StopRules(recorder.state, self._make_clocks(claim), is_stopping=threading.Event())
        return Transcription(claim, self._tools, cast(JobRecorder, recorder), rules)

    def _claim_companions(self, held: Sequence[Transcription]) -> Sequence[Claim]:
        self.claim_calls += 1
        claims, self._companions = self._companions, []
        return claims

    def _report_crash(self, jobs: Sequence[Transcription]) -> None:
        self.crashed.append([job.claim.job_id for job in jobs])
        for job in jobs:
            job.note_crash("crashed")

    def _announce(self) -> None:
        self.is_announced = True


def claim_of(job_id: str) -> Claim:
    return msgspec.structs.replace(CLAIM, job_id=job_id)


def run(host: FakeHost, *recorders: FakeRecorder, **others: object) -> Worker:
    """Run a group with a job for each of these records, by default one, and return its worker."""
    chosen = recorders or (FakeRecorder(),)
    worker = Worker(host, *chosen, **others)  # type: ignore[arg-type]
    worker.group.run([claim_of(name) for name, _ in zip("abcd", chosen, strict=False)])
    assert worker.open == []
    return worker


def clocks_of(
    claim: Claim,
    clock: Callable[[], float],
    *,
    inference_s: float = 60,
    stall_s: float = 60,
    used_ms: int = 0,
) -> JobClocks:
    settings = WorkerSettings(request_timeout=inference_s, stall_timeout_s=stall_s, load_timeout_s=stall_s)
    return JobClocks(msgspec.structs.replace(claim, inference_ms=used_ms), settings, clock=clock)


BATCH = messages.BatchDecoded(rows=1, jobs=1, audio_s=1.0, took_s=0.1, max_rows=4)


def window(run: int, index: int) -> messages.WindowDecoded:
    finished = FinishedWindow((), window=index, resume_sample=(index + 1) * 16_000)
    return messages.WindowDecoded(run, finished)


def test_a_job_succeeds_when_all_audio_is_decoded() -> None:
    assert run(FakeHost(messages.JobDecoded(1))).endings == [["succeeded"]]


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_window_is_stored_with_its_completeness_warnings_and_counts(*, is_complete: bool) -> None:
    segments = (Segment(0.0, 1.0, "The tide", "en"),)
    warnings = (TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0),)
    counts = TokenCounts(text_input=9, audio_input=13, output=5)
    finished = FinishedWindow(segments, warnings, is_complete, counts, window=0, resume_sample=16_000)
    worker = run(FakeHost(messages.WindowDecoded(1, finished), messages.JobDecoded(1)))
    assert worker.recorders[0].stored == [finished]
    assert worker.endings == [["succeeded"]]


def test_the_failure_code_of_the_engine_is_recorded() -> None:
    report = messages.JobFailed(1, FailureCode.AUDIO_UNDECODABLE, "garbage")
    assert run(FakeHost(report)).endings == [[FailureCode.AUDIO_UNDECODABLE]]


def test_a_failed_load_is_announced_fails_the_jobs_and_leaves_no_process() -> None:
    host = FakeHost(messages.LoadFailed("no weights"))
    worker = run(host, FakeRecorder(), FakeRecorder())
    assert worker.endings == [[FailureCode.MODEL_UNAVAILABLE]] * 2
    assert worker.is_announced
    assert host.is_unloaded


def test_a_model_process_that_dies_is_reported_once_for_all_its_jobs() -> None:
    host = FakeHost(messages.JobDecoded(2), ModelProcessDied())
    worker = run(host, FakeRecorder(), FakeRecorder(), FakeRecorder())
    assert worker.crashed == [["a", "c"]]
    assert worker.endings == [["crashed"], ["succeeded"], ["crashed"]]


def test_an_unexpected_error_counts_as_a_crash_and_leaves_no_process_at_work() -> None:
    host = FakeHost(RuntimeError("a bug"))
    assert run(host).crashed == [["a"]]
    assert host.is_given_up


def test_the_last_window_is_stored_in_the_step_that_ends_the_job() -> None:
    first, last = (window(1, index).finished for index in (0, 1))
    worker = run(FakeHost(messages.WindowDecoded(1, first), messages.JobDecoded(1, last)))
    assert worker.recorders[0].stored == [first, last]
    assert worker.endings == [["succeeded after its last window"]]


def test_a_batch_begins_when_all_windows_of_the_last_one_are_stored() -> None:
    host = FakeHost(window(1, 0), window(1, 1), BATCH, window(1, 2), messages.JobDecoded(1))
    worker = run(host)
    assert host.orders == [("begin", "a"), "decode", "decode"]
    assert [finished.window for finished in worker.recorders[0].stored] == [0, 1, 2]


def test_companions_join_between_two_batches() -> None:
    host = FakeHost(window(1, 0), BATCH, messages.JobDecoded(2), messages.JobDecoded(1))
    worker = Worker(host, FakeRecorder(), FakeRecorder(), companions=[claim_of("b")])
    worker.group.run([claim_of("a")])
    assert host.orders == [("begin", "a"), "decode", ("begin", "b"), "decode"]
    assert worker.endings == [["succeeded"], ["succeeded"]]


def run_joining(host: FakeHost, *recorders: FakeRecorder, companions: Sequence[Claim]) -> Worker:
    """Run job `a` on an engine that joins rows, with companions that come after its first window."""
    host.joins_rows = True
    worker = Worker(host, *recorders)
    receive = host.receive

    def receive_and_submit(timeout_s: float) -> messages.Report | None:
        report = receive(timeout_s)
        if isinstance(report, messages.WindowDecoded) and report.finished.window == 0:
            worker.submit(companions)
        return report

    host.receive = receive_and_submit  # type: ignore[method-assign]
    worker.group.run([claim_of("a")])
    assert worker.open == []
    return worker


def test_companions_join_a_running_batch_if_the_engine_joins_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.jobs.group.POLL_S", 0)
    host = FakeHost(window(1, 0), None, messages.JobDecoded(2), messages.JobDecoded(1))
    worker = run_joining(host, FakeRecorder(), FakeRecorder(), companions=[claim_of("b")])
    assert host.orders == [("begin", "a"), "decode", ("begin", "b")]
    assert worker.endings == [["succeeded"], ["succeeded"]]


def test_a_wake_up_makes_a_group_claim_during_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.jobs.group.POLL_S", 0)
    host = FakeHost(None, None, messages.JobDecoded(2), messages.JobDecoded(1))
    host.joins_rows = True
    worker = Worker(host, FakeRecorder(), FakeRecorder())
    decode = host.decode_batch

    def decode_and_wake(max_rows: int) -> None:
        decode(max_rows)
        worker.submit([claim_of("b")])
        worker.is_woken.set()

    host.decode_batch = decode_and_wake  # type: ignore[method-assign]
    worker.group.run([claim_of("a")])
    assert host.orders == [("begin", "a"), "decode", ("begin", "b")]
    assert not worker.is_woken.is_set()


def test_claims_during_a_batch_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.jobs.group.POLL_S", 3600)
    monkeypatch.setattr("time.monotonic", lambda: 5000.0)
    host = FakeHost(*[window(1, index) for index in range(5)], messages.JobDecoded(1))
    worker = run_joining(host, FakeRecorder(), companions=())
    assert worker.claim_calls == 1


def test_a_fixed_batch_gets_no_companions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.jobs.group.POLL_S", 0)
    host = FakeHost(window(1, 0), messages.JobDecoded(1))
    worker = Worker(host, FakeRecorder(), companions=[claim_of("b")])
    worker.group.run([claim_of("a")])
    assert host.orders == [("begin", "a"), "decode"]


def test_a_job_that_yields_during_a_joined_batch_finishes_its_windows_in_decoding() -> None:
    host = FakeHost(window(1, 0), window(1, 1), messages.JobStopped(1))
    worker = run_joining(host, FakeRecorder(Directive.YIELD), companions=())
    assert host.orders == [("begin", "a"), "decode", ("finish", 1)]
    (recorder,) = worker.recorders
    assert [finished.window for finished in recorder.stored] == [0, 1]
    assert [cast(tuple[str, int], ending)[0] for ending in recorder.endings] == ["yielded"]


def test_jobs_of_a_cold_model_wait_for_its_load_and_then_get_companions() -> None:
    host = FakeHost(messages.Loaded("cpu", 0.1, 4), messages.JobDecoded(1), messages.JobDecoded(2))
    host.state = ModelState.LOADING
    worker = Worker(host, FakeRecorder(), FakeRecorder(), companions=[claim_of("b")])
    worker.group.run([claim_of("a")])
    assert host.orders == [("begin", "a"), ("begin", "b"), "decode"]


def test_a_job_that_yields_keeps_every_decoded_window_and_the_process() -> None:
    host = FakeHost(window(1, 0), window(1, 1), BATCH, messages.JobStopped(1))
    worker = run(
        host,
        FakeRecorder(Directive.YIELD),
        make_clocks=lambda claim: clocks_of(claim, Clock(), used_ms=500),
    )
    (recorder,) = worker.recorders
    assert [finished.window for finished in recorder.stored] == [0, 1]
    first_ms, *_, last_ms = recorder.inference_ms
    ((reason, inference_ms),) = cast(list[tuple[str, int]], recorder.endings)
    assert reason == "yielded"
    assert 500 < first_ms < last_ms < inference_ms
    assert not host.is_unloaded


def test_a_job_that_yields_finishes_windows_that_take_longer_than_the_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(range(0, 10_000, 60))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    host = FakeHost(window(1, 0), None, None, window(1, 1), BATCH, messages.JobStopped(1))
    worker = run(host, FakeRecorder(Directive.YIELD))
    assert [finished.window for finished in worker.recorders[0].stored] == [0, 1]
    assert not any(order[0] == "drop" for order in host.orders)  # type: ignore[index]


def test_the_wait_for_companions_ends_when_the_batch_is_full_and_is_not_inference() -> None:
    clock = SetClock()
    host = FakeHost(messages.JobDecoded(1), messages.JobDecoded(2), max_rows=2)
    worker = Worker(
        host,
        FakeRecorder(),
        FakeRecorder(),
        make_clocks=lambda claim: clocks_of(claim, clock, inference_s=20),
        batch_wait_s=3_600,
    )

    def wait(_timeout_s: float) -> bool:
        clock.now += 30
        worker.submit([claim_of("b")])
        return True

    worker.is_woken.wait = wait  # type: ignore[method-assign, assignment]
    worker.group.run([claim_of("a")])
    assert worker.endings == [["succeeded"]] * 2
    assert [recorder.ended_ms for recorder in worker.recorders] == [0, 0]


def test_the_first_batch_of_a_group_has_the_speed_of_the_last_one() -> None:
    host = FakeHost(messages.JobDecoded(1))
    host.audio_second_s = 0.2
    run(host)
    assert host.orders[-1] == ("decode", 1)  # a window of 30 s takes 6 of 10 s


def test_a_job_that_yields_does_not_stop_its_companions() -> None:
    host = FakeHost(window(1, 0), BATCH, messages.JobStopped(1), messages.JobDecoded(2))
    worker = run(host, FakeRecorder(Directive.YIELD), FakeRecorder())
    assert host.orders[-2:] == [("stop", 1), "decode"]
    assert [ending[0][0] for ending in worker.endings[:1]] == ["yielded"]  # type: ignore[index]
    assert worker.endings[1] == ["succeeded"]


def test_a_cancelled_job_that_the_engine_does_not_stop_is_dropped_and_the_others_go_on() -> None:
    cancelled = FakeRecorder()
    cancelled.state = ClaimState(claim_of("a"))
    cancelled.state.apply(Directive.CANCEL)
    host = FakeHost(None, window(2, 0), messages.JobDecoded(2))
    worker = run(host, cancelled, FakeRecorder())
    assert worker.endings == [["cancelled"], ["succeeded"]]
    assert host.orders[-3:] == [("stop", 1), ("drop", 1), "end dropped"]
    assert not host.is_unloaded


def test_a_job_out_of_time_is_dropped_and_its_inference_time_recorded() -> None:
    host = FakeHost(window(1, 0), *[None] * 100)
    worker = run(host, make_clocks=lambda claim: clocks_of(claim, Clock(), inference_s=5, used_ms=500))
    (recorder,) = worker.recorders
    assert recorder.endings == [FailureCode.TIMEOUT]
    assert [finished.window for finished in recorder.stored] == [0]
    assert recorder.ended_ms > 5_000


@pytest.mark.parametrize(
    "report", [messages.JobFailed(1, FailureCode.ENGINE_ERROR, "broken"), messages.JobDecoded(1)]
)
def test_the_end_of_a_job_records_its_inference_time(report: messages.Report) -> None:
    host = FakeHost(report)
    worker = run(host, make_clocks=lambda claim: clocks_of(claim, Clock(), used_ms=500))
    assert worker.recorders[0].ended_ms > 500


def test_an_engine_that_falls_silent_lets_no_job_of_a_group_time_out() -> None:
    clock = SetClock()
    host = FakeHost()
    silences = iter([30.0, 49.0, 51.0])

    def fall_silent(timeout_s: float) -> None:
        clock.now = next(silences)

    host.receive = fall_silent  # type: ignore[method-assign]
    worker = run(
        host,
        FakeRecorder(),
        FakeRecorder(),
        make_clocks=lambda claim: clocks_of(claim, clock, inference_s=20, stall_s=50),
    )
    assert worker.crashed == [["a", "b"]]
    assert host.is_given_up


def test_a_stalled_engine_loses_its_process_and_crashes_all_its_jobs() -> None:
    host = FakeHost(*[None] * 1000)
    worker = run(
        host,
        FakeRecorder(),
        FakeRecorder(),
        make_clocks=lambda claim: clocks_of(claim, Clock(), inference_s=600),
    )
    assert worker.crashed == [["a", "b"]]
    assert host.is_given_up


def test_audio_that_cannot_be_opened_fails_its_job_alone() -> None:
    host = FakeHost(messages.JobDecoded(1))
    worker = run(host, FakeRecorder(), FakeRecorder(), media=FakeMedia(FileNotFoundError()))
    assert worker.endings == [[FailureCode.UPLOAD_MISSING], ["succeeded"]]


def test_a_short_shortage_of_processes_costs_a_wait() -> None:
    media = FakeMedia(MediaServiceDown(), MediaServiceDown())
    assert run(FakeHost(messages.JobDecoded(1)), media=media).endings == [["succeeded"]]
    assert media.calls == 3


def test_a_long_shortage_of_processes_counts_as_a_crash() -> None:
    media = FakeMedia(*[MediaServiceDown()] * 1000)
    assert run(FakeHost(), media=media).endings == [["crashed"]]


def test_a_job_that_waits_for_a_decoder_can_be_cancelled() -> None:
    recorder, media = FakeRecorder(), FakeMedia(*[MediaServiceDown()] * 1000)
    recorder.state = ClaimState(claim_of("a"))
    recorder.state.apply(Directive.CANCEL)
    assert run(FakeHost(), recorder, media=media).endings == [["cancelled"]]
    assert media.calls == 1


def test_a_long_outage_is_not_a_crash_and_leaves_no_engine_at_work() -> None:
    host, recorder = FakeHost(window(1, 0)), RecorderWithoutRedis()
    host.is_idle = False
    with pytest.raises(QueueUnavailable):
        run(host, recorder)
    assert recorder.endings == []
    assert host.is_unloaded


class SlowRecorder(FakeRecorder):
    """A record that stores a window after an outage of a minute."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self._clock = clock

    def store_window(self, finished: FinishedWindow, *, inference_ms: int, cost_ms: int) -> None:
        self._clock.now += 60
        super().store_window(finished, inference_ms=inference_ms, cost_ms=cost_ms)


def test_an_outage_of_the_record_does_not_count_as_inference() -> None:
    clock = SetClock()
    host = FakeHost(*[window(1, index) for index in range(3)], messages.JobDecoded(1))
    worker = run(
        host,
        SlowRecorder(clock),
        make_clocks=lambda claim: clocks_of(claim, clock, inference_s=50, stall_s=50, used_ms=7),
    )
    (recorder,) = worker.recorders
    assert recorder.endings == ["succeeded"]
    assert recorder.inference_ms == [7, 7, 7]
