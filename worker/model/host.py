"""The model host: the parent's side of the model process, which it starts, sends batches to and ends.

absent --begin_job--> loading --Loaded--> busy --all runs and the batch ended--> ready --begin_job--> busy
loading | ready | busy --process dies--> dead --begin_job--> loading (while ready: on the next detect_death)
any --unload--> absent
any --give_up--> dead

The model has a process of its own because only the end of a process returns all GPU memory.
"""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from shared.capabilities import UNREADY_S, ModelState
from shared.jobs import Claim
from worker.model import messages
from worker.model.child import EXIT_GRACE_S, ModelChild

MAX_RESTARTS = 3
RESTART_PERIOD_S = 60.0
"""The restarts allowed within RESTART_PERIOD_S seconds. After more deaths the worker claims no job."""

_logger = structlog.get_logger(__name__)


class ModelProcessDied(Exception):
    """Raised if the model process died."""


class ModelHost:
    """The owner of at most one model process. All methods are called from one long-lived thread."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._environment = environment or {}
        self._clock = clock
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._child: ModelChild | None = None
        self._runs = itertools.count(1)
        self._open_runs: set[int] = set()  # begun and not ended, dropped ones included
        self._dropped_runs: set[int] = set()
        self._drop_facts: dict[str, str | int] = {}  # about the last dropped run
        self.is_decoding = False
        """Whether a batch has not been reported as done."""
        self.ended_with_dropped_runs = False
        """Whether the engine was still at work on dropped runs when the last process ended."""
        self._started_at = 0.0
        self._loads = 0
        self._unready_until = 0.0
        self.state = ModelState.ABSENT
        self.device = ""
        self.max_rows = 1
        """The most windows of a batch, as far as a model process has reported it."""
        self.joins_rows = False
        """Whether jobs may begin during a batch, as far as a model process has reported it."""
        self.rows = 0
        """The windows in decoding, or those of the last batch; 0 without a process."""
        self.audio_second_s = 0.0  # taken for a second of audio in the last batch of this process
        self.load_error = ""  # the reason of the last load if it failed
        self.load_failed_s = 0.0  # its time in seconds since the epoch

    @property
    def is_idle(self) -> bool:
        """Return whether no engine is at work: there is no process, or it waits for a job."""
        return self.state in (ModelState.ABSENT, ModelState.READY, ModelState.DEAD)

    @property
    def has_dropped_runs(self) -> bool:
        """Return whether the engine has not answered the stop of a dropped run yet."""
        return bool(self._dropped_runs & self._open_runs)

    @property
    def may_start(self) -> bool:
        """Return whether a job may begin: false while the process has died too often."""
        if self.state is not ModelState.DEAD or len(self._restarts) < MAX_RESTARTS:
            return True
        return self._clock() - self._restarts[0] >= RESTART_PERIOD_S

    @property
    def has_failed_to_load(self) -> bool:
        """Return whether the last load of the model failed within UNREADY_S seconds."""
        return self._clock() < self._unready_until

    def begin_job(self, claim: Claim, audio_fd: int, *, has_stored_samples: bool = False) -> int:
        """Send a job with its audio, and start a process first if there is none. Return the job's run.

        `audio_fd` is the pipe of a decoder, or stored samples at the place where the job begins. The caller
        closes its own copy. Needs no particular state, but between two batches the job begins sooner.

        Raises:
            ModelProcessDied: the process ended before it received the job.
        """
        self.detect_death()
        if self._child is None:
            self._start_process()
        elif self.state is ModelState.READY:
            self.state = ModelState.BUSY
        run = next(self._runs)
        self._open_runs.add(run)
        order = messages.make_order(run, claim)
        self._send(msgspec.structs.replace(order, has_stored_samples=has_stored_samples), audio_fd)
        return run

    def decode_batch(self, max_rows: int = 0) -> None:
        """Let the process decode one batch of the jobs that have begun; see `messages.DecodeBatch`.

        Needs jobs that have begun, and a last batch that is done.
        """
        self.is_decoding = True
        with contextlib.suppress(ModelProcessDied):  # the next `receive` raises it
            self._send(messages.DecodeBatch(max_rows))

    def detect_death(self) -> None:
        """Detect a process that died while it waited for a job. Needs no particular state.

        Late reports about earlier jobs are dropped.
        """
        while self._is_unneeded and self._child is not None and self._child.is_readable(0):
            with contextlib.suppress(ModelProcessDied):
                self.receive(0)

    @property
    def _is_unneeded(self) -> bool:
        """Return whether a loaded process has no job, apart from dropped ones."""
        return self.state.is_loaded and self._open_runs <= self._dropped_runs

    def receive(self, timeout_s: float) -> messages.Report | None:
        """Return the next report, or None after `timeout_s` or for a dropped run. Needs a job that has begun.

        Raises:
            ModelProcessDied: the process died.
        """
        if self._child is None:
            raise ModelProcessDied
        if not self._child.is_readable(timeout_s):
            return None
        report = self._child.receive()
        if report is None:
            raise self._on_death()
        awaited = self._open_runs - self._dropped_runs
        self._update_state(report)
        is_late = isinstance(report, messages.RunMessage) and report.run not in awaited
        return None if is_late else report

    def stop_job(self, run: int, *, finishes_windows: bool = False) -> None:
        """Request that the engine stops this run, now or when its windows in decoding are done.

        It answers JobStopped, unless it is too busy. The run may also end in another way before.
        """
        with contextlib.suppress(ModelProcessDied):
            self._send(messages.StopJob(run, finishes_windows))

    def drop_job(self, run: int, **facts: str | int) -> None:
        """Stop this run, and drop all further reports on it. The others go on.

        The `facts` are logged if the process has to be ended for it.
        """
        self._dropped_runs.add(run)
        self._drop_facts = facts
        self.stop_job(run)

    def end_dropped_jobs(self) -> None:
        """End a process that goes on with dropped runs. Needs no other job."""
        self.detect_death()
        if self.has_dropped_runs:
            self._end_process(0.0, **self._drop_facts)
            self.state = ModelState.ABSENT

    def unload(self, reason: str = "idle", **facts: object) -> None:
        """End the process and its children, by force if it does not exit. Needs no particular state."""
        self._end_process(EXIT_GRACE_S if self.state is ModelState.READY else 0.0, reason=reason, **facts)
        self.state = ModelState.ABSENT

    def give_up(self) -> None:
        """Kill a process that is stalled or in an unknown state. It counts as one that died."""
        self._end_process(0.0, reason="given_up")
        self.state = ModelState.DEAD

    def _update_state(self, report: messages.Report) -> None:
        match report:
            case messages.Loaded(device=device, rows=rows, joins_rows=joins_rows):
                self.device, self.max_rows, self.joins_rows, self.load_error = device, rows, joins_rows, ""
                if self.state is ModelState.LOADING:  # and not busy, with a second model loaded
                    self.state, self._unready_until = ModelState.BUSY, 0.0
                    self._loads += 1
                    load_s = round(self._clock() - self._started_at, 3)
                    _logger.info("model_loaded", device=device, load_s=load_s, loads=self._loads)
            case messages.LoadFailed(message=message):
                self.load_error, self.load_failed_s = message, time.time()
                if self.state is ModelState.LOADING:
                    self._unready_until = self._clock() + UNREADY_S
            case messages.JobDecoded(run=run) | messages.JobFailed(run=run) | messages.JobStopped(run=run):
                self._open_runs.discard(run)
                self._become_ready()
            case messages.RowsJoined(rows=rows):
                self.rows = rows
            case messages.BatchDecoded(rows=rows, max_rows=max_rows, audio_s=audio_s, took_s=took_s):
                self.rows, self.max_rows, self.is_decoding = min(rows, max_rows), max_rows, False
                self.audio_second_s = took_s / audio_s if audio_s else self.audio_second_s
                self._become_ready()
            case _:
                pass

    def _become_ready(self) -> None:
        if self.state is ModelState.BUSY and not self._open_runs and not self.is_decoding:
            self.state = ModelState.READY

    def _start_process(self) -> None:
        if self.state is ModelState.DEAD:
            self._restarts.append(self._clock())
        self._started_at, self.state = self._clock(), ModelState.LOADING
        self._child = ModelChild(self._command, self._environment)
        _logger.info("model_process_started", pid=self._child.pid)

    def _send(self, order: messages.Order, *descriptors: int) -> None:
        if self._child is None:
            raise ModelProcessDied
        try:
            self._child.send(order, descriptors)
        except OSError as error:
            raise self._on_death() from error

    def _on_death(self) -> ModelProcessDied:
        child = self._child
        self._end_process(0.0, reason="died")
        self.state = ModelState.DEAD
        code, pid = (child.exit_code, child.pid) if child else (None, None)
        _logger.error("model_process_died", exit_code=code, pid=pid)
        return ModelProcessDied(f"the model process ended with code {code}")

    def _end_process(self, grace_s: float, **facts: object) -> None:
        child, self._child = self._child, None
        self.ended_with_dropped_runs = self.has_dropped_runs
        self._open_runs, self._dropped_runs = set(), set()
        self.rows, self.audio_second_s, self.is_decoding = 0, 0.0, False
        if child is not None:
            child.end(grace_s)
            _logger.info("model_process_ended", pid=child.pid, **facts)
