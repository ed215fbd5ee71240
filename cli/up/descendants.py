"""The processes below the supervisor: none of them may outlive it."""

import contextlib
import time
from collections.abc import Sequence

import psutil

# Model processes and the decoders' fork server end when their stdin closes, after the end of their parent.
END_WITHIN_S = 2.0


def end_survivors(processes: Sequence[psutil.Process]) -> list[int]:
    """Wait a moment for `processes` to end, kill the others, and return the process ids of those killed."""
    give_up = time.monotonic() + END_WITHIN_S
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < give_up:
        time.sleep(0.02)
        alive = [process for process in alive if is_alive(process)]
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return [process.pid for process in alive]


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process still runs. A zombie does not; it waits for its parent to notice its end."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
