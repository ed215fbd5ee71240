"""The last look before leaving: nothing that a part has started may outlive the server."""

import contextlib
import time
from collections.abc import Sequence

import psutil

# The model process and the decoder's fork server end by the end of their stdin when their parent is gone.
END_BY_THEMSELVES_S = 2.0


def list_descendants(*, besides: int) -> list[psutil.Process]:
    """Every process below this one, however deep, but for the one whose process id is `besides`."""
    return [process for process in psutil.Process().children(recursive=True) if process.pid != besides]


def end_survivors(processes: Sequence[psutil.Process]) -> list[int]:
    """Give `processes` a moment to end, kill those that do not, and return the process ids of these."""
    give_up = time.monotonic() + END_BY_THEMSELVES_S
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < give_up:
        time.sleep(0.02)
        alive = [process for process in alive if is_alive(process)]
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return [process.pid for process in alive]


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not, it only waits for a parent that may be slow to notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
