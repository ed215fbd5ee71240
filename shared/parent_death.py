"""Being killed when the parent dies, by the kernel; for the moments in which nobody listens for its end.

Only Linux has it. The signal comes when the *thread* that started this process ends, and reaches this process
alone, none that it started: where it listens for the end of its channel, that is the better way.
"""

import ctypes
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """From now on be killed when the parent dies."""
    _set_parent_death_signal(signal.SIGKILL)


def is_left_alone(channel_fd: int) -> bool:
    """Whether nobody holds the other end of the channel: the parent died before this process was tied to it.

    To be asked after `die_with_parent`, which says nothing of a parent that is dead already.
    """
    look = select.poll()
    look.register(channel_fd, 0)  # the end is told of unasked
    return bool(look.poll(0))


def outlive_parent() -> None:
    """From now on hear nothing of the parent's death."""
    _set_parent_death_signal(0)


def _set_parent_death_signal(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
