"""Death with the parent, as the kernel of Linux offers it; elsewhere these functions do nothing.

The kernel sends the signal when the *thread* that started this process ends. It goes to this process alone,
not to its children. A process that watches the end of its channel needs it only until it does so.

The setting survives `exec`. So this module is also a program that ties other programs, such as Redis:
`python -I -S parent_death.py PARENT COMMAND…` becomes COMMAND, tied to the process PARENT.
"""

import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have this process killed when its parent dies, from now on."""
    _set_parent_death_signal(signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `die_with_parent`."""
    _set_parent_death_signal(0)


def is_left_alone(channel_fd: int) -> bool:
    """Return whether the other end of the channel is closed: the parent died before this process was tied.

    Call it after `die_with_parent`, which does not notice a parent that is dead already.
    """
    poll = select.poll()
    poll.register(channel_fd, 0)  # a hang-up is reported unasked
    return bool(poll.poll(0))


def become_tied(parent_pid: int, command: list[str]) -> None:
    """Become `command`, which dies with the process `parent_pid`; end at once if that is dead already."""
    die_with_parent()
    if os.getppid() == parent_pid:
        os.execvp(command[0], command)  # noqa: S606 - no shell


def _set_parent_death_signal(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


if __name__ == "__main__":
    become_tied(int(sys.argv[1]), sys.argv[2:])
