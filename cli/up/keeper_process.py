"""The keeper process: ends the parts if the supervisor vanishes without a word, as after kill -9.

It reads lines from stdin until the supervisor's end of that pipe closes: `<part> <process group>` says that a
part runs in that group, `<part> 0` that it has ended, `bye` that all is in order. Its arguments are the names
of the parts in the order in which to end them. It needs nothing but the standard library.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable


def keep_watch(lines: Iterable[str], kill_order: Iterable[str]) -> None:
    """Follow `lines` to their end; unless the last is `bye`, kill the groups they told of in `kill_order`."""
    groups: dict[str, int] = {}
    for line in lines:
        if line == "bye\n":
            return
        name, group = line.split()
        groups[name] = int(group)
    for name in kill_order:
        if groups.get(name):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses for zombies
                os.killpg(groups[name], signal.SIGKILL)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keep_watch(sys.stdin, sys.argv[1:])
