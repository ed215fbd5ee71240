"""The model host: the parent's side of the model process, which it starts, sends jobs to and ends.

absent --begin_job--> loading --Loaded--> ready --begin_job--> busy --run ends--> ready
loading | ready | busy --process dies--> dead --begin_job--> loading (while ready: on the next detect_death)
any --unload--> absent
any --give_up--> dead

The model has a process of its own because only the end of a process returns all GPU memory.
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

import msgspec
import structlog

from shared.capabilities import UNREADY_S, ModelState
from shared.fd_channel import FdChannel
from shared.jobs import Claim, Endpoint
from worker.model import messages

EXIT_GRACE_S = 2.0
"""Seconds for a model process to exit after its channel is closed. Then it is killed."""

MAX_RESTARTS = 3
RESTART_PERIOD_S = 60.0
"""The restarts allowed within RESTART_PERIOD_S seconds. After more deaths the worker claims no job."""

EARLY_TEXT_FROM_S = 10.0
"""Seconds of audio from which early text is worth its time. The text of shorter audio comes soon."""

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
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: FdChannel | None = None
        self._runs = itertools.count(1)
        self._run = 0
        self._started_at = 0.0
        self._loads = 0
        self._unready_until = 0.0
        self.state = ModelState.ABSENT
        self.device = ""
        self.load_error = ""
        """The reason why the last load failed; empty after one that succeeded."""
        self.load_failed_s = 0.0
        """The time of that failure in seconds since the epoch."""

    @property
    def is_idle(self) -> bool:
        """Return whether no engine is at work: there is no process, or it waits for a job."""
        return self.state in (ModelState.ABSENT, ModelState.READY, ModelState.DEAD)

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

    def begin_job(self, claim: Claim, audio_fd: int, *, has_stored_samples: bool = False) -> None:
        """Send a job with its audio, and start a process first if there is none.

        `audio_fd` is the pipe of a decoder, or stored samples at the place where the job begins.

        Needs a state other than busy. The caller closes its own copy of `audio_fd`.

        Raises:
            ModelProcessDied: the process ended before it received the job.
        """
        self.detect_death()
        if self._channel is None:
            self._start_process()
        else:
            self.state = ModelState.BUSY
        self._run = next(self._runs)
        order = make_order(self._run, claim)
        self._send(msgspec.structs.replace(order, has_stored_samples=has_stored_samples), audio_fd)

    def detect_death(self) -> None:
        """Detect a process that died while it waited for a job. Needs no particular state.

        Late reports about an earlier job are dropped.
        """
        while self.state is ModelState.READY and self._channel is not None and self._channel.is_readable(0):
            if self._channel.receive() is None:
                self._on_death()

    def receive(self, timeout_s: float) -> messages.Report | None:
        """Return the next report on the current job, or None after `timeout_s`. Needs a job that has begun.

        Raises:
            ModelProcessDied: the process died.
        """
        if self._channel is None:
            raise ModelProcessDied
        if not self._channel.is_readable(timeout_s):
            return None
        message = self._channel.receive()
        if message is None:
            raise self._on_death()
        report = messages.report_decoder.decode(message[0])
        if isinstance(report, messages.RunMessage) and report.run != self._run:
            return None
        self._update_state(report)
        return report

    def continue_job(self) -> None:
        """Let the process, which has sent BatchDecoded, decode the next windows of the current job."""
        with contextlib.suppress(ModelProcessDied):  # the next `receive` raises it
            self._send(messages.ContinueJob(self._run))

    def stop_job(self) -> None:
        """Request that the engine stops the current job. It answers JobStopped, unless it is too busy."""
        with contextlib.suppress(ModelProcessDied):
            self._send(messages.StopJob(self._run))

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
            case messages.Loaded(device=device):
                self.device, self.load_error = device, ""
                if self.state is ModelState.LOADING:  # and not busy, with a second model loaded
                    self.state, self._unready_until = ModelState.BUSY, 0.0
                    self._loads += 1
                    load_s = round(self._clock() - self._started_at, 3)
                    _logger.info("model_loaded", device=device, load_s=load_s, loads=self._loads)
            case messages.LoadFailed(message=message):
                self.load_error, self.load_failed_s = message, time.time()
                if self.state is ModelState.LOADING:
                    self._unready_until = self._clock() + UNREADY_S
            case messages.JobDecoded() | messages.JobFailed() | messages.JobStopped():
                self.state = ModelState.READY
            case _:
                pass

    def _start_process(self) -> None:
        if self.state is ModelState.DEAD:
            self._restarts.append(self._clock())
        self._started_at = self._clock()
        ours, theirs = socket.socketpair()
        self.state = ModelState.LOADING
        self._channel = FdChannel(ours)
        with theirs:
            # It leads its own process group, so that its children can be killed with it.
            self._process = subprocess.Popen(
                self._command,
                stdin=theirs.fileno(),
                env=os.environ | self._environment,
                start_new_session=True,
            )
        _logger.info("model_process_started", pid=self._process.pid)

    def _send(self, order: messages.Order, *descriptors: int) -> None:
        if self._channel is None:
            raise ModelProcessDied
        try:
            self._channel.send(msgspec.json.encode(order), descriptors)
        except OSError as error:
            raise self._on_death() from error

    def _on_death(self) -> ModelProcessDied:
        process = self._process
        self._end_process(0.0, reason="died")
        self.state = ModelState.DEAD
        code, pid = (process.returncode, process.pid) if process else (None, None)
        _logger.error("model_process_died", exit_code=code, pid=pid)
        return ModelProcessDied(f"the model process ended with code {code}")

    def _end_process(self, grace_s: float, **facts: object) -> None:
        process, channel = self._process, self._channel
        self._process = self._channel = None
        if process is None or channel is None:
            return
        channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if grace_s > 0:
                process.wait(grace_s)
        end_group(process)
        _logger.info("model_process_ended", pid=process.pid, **facts)


def make_order(run: int, claim: Claim) -> messages.DecodeJob:
    """Return the order to transcribe `claim`."""
    # `stream=true` of the sync endpoint sends final text only. The events of a job may have no reader.
    is_early_text_wanted = (
        claim.endpoint is Endpoint.STREAM
        and claim.checkpoint.windows == 0
        and claim.upload.duration_s >= EARLY_TEXT_FROM_S
    )
    return messages.DecodeJob(run, claim.request, claim.checkpoint, is_early_text_wanted, job_id=claim.job_id)


def end_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill a process group, and wait until no process is left that could hold memory of the device."""
    deadline = time.monotonic() + EXIT_GRACE_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        while time.monotonic() < deadline:
            os.killpg(leader.pid, 0)
            time.sleep(0.005)
    leader.wait()
