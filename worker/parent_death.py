"""Being killed when the parent dies, by the kernel; for the moments in which nobody listens for its end.

Only Linux has it. The signal comes when the *thread* that started this process ends, and reaches this process
alone, none that it started: where it listens for the end of its channel, that is the better way.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """From now on be killed when the parent dies."""
    _set_parent_death_signal(signal.SIGKILL)


def outlive_parent() -> None:
    """From now on hear nothing of the parent's death."""
    _set_parent_death_signal(0)


def _set_parent_death_signal(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
