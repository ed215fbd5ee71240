"""The limits that a child sets on itself before it touches untrusted media, and cannot raise again."""

import math
import os
import resource
import signal
import sys
from collections.abc import Collection
from pathlib import Path

from shared.media.messages import MediaLimits

# The fork server has its socket, its log, and what came with one request: nothing anywhere near this number.
_FD_END = 64


def confine_process(limits: MediaLimits, *, kept_fds: Collection[int], timeout_s: float | None) -> None:
    """Confine this process for good; at `timeout_s` of wall clock time, if given, it is killed.

    From here on it can open nothing, connect to nothing, start nothing (root could), and write only to those
    of `kept_fds` that are pipes, sockets or terminals: where the log is a plain file, its lines are lost.
    Memory counts on top of what the process has now. Going past it makes allocation fail, going past CPU
    time kills. macOS takes the memory limit without keeping it.
    """
    _limit_memory(limits.memory_bytes)
    _close_all_but(kept_fds)
    _set_limit(resource.RLIMIT_CPU, math.ceil(limits.cpu_s))
    _set_limit(resource.RLIMIT_FSIZE, 0)
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_NPROC, 0)
    # No file can be opened, by whatever trick in a playlist or a container; descriptors in use stay usable.
    _set_limit(resource.RLIMIT_NOFILE, 0)
    if timeout_s is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform == "linux":
        _set_limit(resource.RLIMIT_AS, _address_space_bytes() + memory_bytes)
    else:
        _set_limit(resource.RLIMIT_DATA, memory_bytes)


def _address_space_bytes() -> int:
    """What the preloaded libraries occupy, most of it never touched."""
    pages = Path("/proc/self/statm").read_bytes().split()[0]
    return int(pages) * resource.getpagesize()


def _close_all_but(kept_fds: Collection[int]) -> None:
    begin = 0
    for fd in sorted(kept_fds):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, _FD_END)


def _set_limit(which: int, value: int) -> None:
    _, highest = resource.getrlimit(which)
    if highest != resource.RLIM_INFINITY:
        value = min(value, highest)
    resource.setrlimit(which, (value, value))
