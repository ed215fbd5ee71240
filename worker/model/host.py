"""The parent's side of the model process: start it, give it a job, hear from it, end it.

absent --begin_job--> loading --Loaded--> ready --begin_job--> busy --run ends--> ready
loading | ready | busy --process vanishes--> dead --begin_job--> loading (while ready: once it is looked at)
any --unload--> absent
any --give_up--> dead
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from shared.capabilities import ModelState
from shared.fd_channel import FdChannel
from shared.jobs import Claim, Endpoint
from worker.model.messages import (
    DecodeJob,
    GoOn,
    JobDecoded,
    JobFailed,
    JobStopped,
    Loaded,
    Order,
    Report,
    StopJob,
    decode_report,
    encode_message,
)

EXIT_GRACE_S = 2.0
"""Seconds a model process gets to end by itself once its channel is closed."""

MAX_RESTARTS = 3
RESTART_PERIOD_S = 60.0
"""A model process that died is started again so often in so many seconds; then its worker takes no job."""

DRAFT_FROM_S = 30.0
"""Of audio shorter than this, in seconds, the text itself comes soon, and a draft would delay it."""

_logger = structlog.get_logger(__name__)


class ModelProcessDied(Exception):
    """The model process vanished without being asked to."""


class ModelHost:
    """Owns at most one model process. All methods are called from one long-lived thread."""

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
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: FdChannel | None = None
        self._runs = itertools.count(1)
        self._run = 0
        self._started_at = 0.0
        self._loads = 0
        self.state = ModelState.ABSENT
        self.device = ""

    @property
    def is_idle(self) -> bool:
        """Whether no engine is at work: there is no process, or it waits for a job."""
        return self.state in (ModelState.ABSENT, ModelState.READY, ModelState.DEAD)

    @property
    def may_start(self) -> bool:
        """Whether a job may be begun: false while the process has died too often of late."""
        if self.state is not ModelState.DEAD or len(self._restarts) < MAX_RESTARTS:
            return True
        return self._clock() - self._restarts[0] >= RESTART_PERIOD_S

    def begin_job(self, claim: Claim, audio_fd: int) -> None:
        """Hand over a job and the pipe its audio comes from; starts a process where none is alive.

        Needs a state other than busy. The caller closes his `audio_fd`.

        Raises:
            ModelProcessDied: the process ended before it took the job.
        """
        self.notice_death()
        if self._channel is None:
            self._start_process()
        else:
            self.state = ModelState.BUSY
        self._run = next(self._runs)
        self._send(order_job(self._run, claim), audio_fd)

    def notice_death(self) -> None:
        """See whether the process has vanished while it waited for a job; needs no particular state.

        What it may still say of an earlier job is dropped.
        """
        while self.state is ModelState.READY and self._channel is not None and self._channel.is_readable(0):
            if self._channel.receive() is None:
                self._died()

    def receive(self, timeout_s: float) -> Report | None:
        """The next report about the job at hand, or None after `timeout_s`. Needs a job begun.

        Raises:
            ModelProcessDied: the process vanished.
        """
        if self._channel is None:
            raise ModelProcessDied
        if not self._channel.is_readable(timeout_s):
            return None
        message = self._channel.receive()
        if message is None:
            raise self._died()
        report = decode_report(message[0])
        if getattr(report, "run", self._run) != self._run:
            return None
        self._note(report)
        return report

    def go_on(self) -> None:
        """Let the process, which asked by BatchDecoded, decode the next windows of the job at hand."""
        with contextlib.suppress(ModelProcessDied):  # the next `receive` says so
            self._send(GoOn(self._run))

    def stop_job(self) -> None:
        """Ask the engine to stop the job at hand; it answers JobStopped, or is too busy to."""
        with contextlib.suppress(ModelProcessDied):
            self._send(StopJob(self._run))

    def unload(self) -> None:
        """End the process and all it started: gently, then by force. Needs no particular state."""
        self._end_process(EXIT_GRACE_S if self.state is ModelState.READY else 0.0)
        self.state = ModelState.ABSENT

    def give_up(self) -> None:
        """End a process that stands still or cannot be trusted; it counts as one that has died."""
        self._end_process(0.0)
        self.state = ModelState.DEAD

    def _note(self, report: Report) -> None:
        match report:
            case Loaded(device=device):
                self.device = device
                if self.state is ModelState.LOADING:  # and not at work, when a second model was loaded
                    self.state = ModelState.BUSY
                    self._log_load()
            case JobDecoded() | JobFailed() | JobStopped():
                self.state = ModelState.READY
            case _:
                pass

    def _log_load(self) -> None:
        self._loads += 1
        load_s = round(self._clock() - self._started_at, 3)
        _logger.info("model_loaded", device=self.device, load_s=load_s, loads=self._loads)

    def _start_process(self) -> None:
        if self.state is ModelState.DEAD:
            self._restarts.append(self._clock())
        self._started_at = self._clock()
        ours, theirs = socket.socketpair()
        self.state = ModelState.LOADING
        self._channel = FdChannel(ours)
        with theirs:
            # It leads a group of its own, so that the processes it may start can be ended with it.
            self._process = subprocess.Popen(
                self._command,
                stdin=theirs.fileno(),
                env=os.environ | self._environment,
                start_new_session=True,
            )
        _logger.info("model_process_started", pid=self._process.pid)

    def _send(self, order: Order, *descriptors: int) -> None:
        if self._channel is None:
            raise ModelProcessDied
        try:
            self._channel.send(encode_message(order), descriptors)
        except OSError as error:
            raise self._died() from error

    def _died(self) -> ModelProcessDied:
        process = self._process
        self._end_process(0.0)
        self.state = ModelState.DEAD
        code = process.returncode if process else None
        _logger.error("model_process_died", exit_code=code)
        return ModelProcessDied(f"the model process ended with code {code}")

    def _end_process(self, grace_s: float) -> None:
        process, channel = self._process, self._channel
        self._process = self._channel = None
        if process is None or channel is None:
            return
        channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if grace_s > 0:
                process.wait(grace_s)
        end_group(process)
        _logger.info("model_process_ended", pid=process.pid)


def order_job(run: int, claim: Claim) -> DecodeJob:
    """What the process is told to do for `claim`."""
    is_early_text_wanted = (
        claim.endpoint in (Endpoint.SYNC, Endpoint.STREAM) and claim.checkpoint.windows == 0
    )
    # By the other endpoint only text that stays is sent on.
    is_draft_wanted = (
        is_early_text_wanted and claim.endpoint is Endpoint.STREAM and claim.upload.duration_s >= DRAFT_FROM_S
    )
    return DecodeJob(run, claim.request, claim.checkpoint, is_early_text_wanted, is_draft_wanted)


def end_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill a process and its whole group, and wait until none is left to hold memory of the device."""
    deadline = time.monotonic() + EXIT_GRACE_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        while time.monotonic() < deadline:
            os.killpg(leader.pid, 0)
            time.sleep(0.005)
    leader.wait()
