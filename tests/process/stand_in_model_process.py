"""A stand-in for the model process. Its argument names a behaviour that the model host must handle."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from shared.fd_channel import FdChannel
from shared.jobs import FailureCode
from worker.model import messages

STUBBORN = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print(flush=True)
time.sleep(600)
"""


def start_stubborn_child() -> None:
    """Start a process that ignores signals, like a child process of an engine."""
    command = [sys.executable, "-c", STUBBORN]
    # Without the channel to the host, which closes only when nobody has it any more.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()  # from here on it ignores them


def answer(order: messages.Order, behaviour: str, send: Callable[[messages.Report], None]) -> None:
    """Answer one order with `behaviour`."""
    if isinstance(order, messages.DecodeBatch):
        send(messages.BatchDecoded(rows=1, jobs=1, audio_s=1.0, took_s=0.1, max_rows=4))
    elif isinstance(order, messages.StopJob):
        if behaviour != "ignore_stop":
            send(messages.JobStopped(order.run))
    elif behaviour == "answer_an_old_run":
        send(messages.JobFailed(order.run - 1, FailureCode.ENGINE_ERROR, "of another job"))
        send(messages.JobDecoded(order.run))
    elif behaviour == "load_another":
        send(messages.LoadPhaseBegun("second weights", 0.0))
        send(messages.Loaded("cpu", 0.1))
        send(messages.JobDecoded(order.run))
    elif behaviour == "fail_to_load_another":
        send(messages.LoadFailed("no second weights"))
    elif behaviour == "die_in_job":
        os._exit(4)
    elif behaviour not in ("wait_for_stop", "ignore_stop"):
        send(messages.JobDecoded(order.run))


def main(behaviour: str) -> None:
    """Load, then answer each job with `behaviour`."""
    channel = FdChannel(socket.socket(fileno=os.dup(0)))

    def send(report: messages.Report) -> None:
        channel.send(msgspec.json.encode(report))

    if behaviour == "die_in_load":
        sys.exit(3)
    if behaviour == "with_a_grandchild":
        start_stubborn_child()
    send(messages.LoadPhaseBegun("weights", 0.1))
    if behaviour == "fail_load":
        send(messages.LoadFailed("no weights"))
    else:
        send(messages.Loaded("cpu", 0.2))
    while (message := channel.receive()) is not None:
        answer(messages.order_decoder.decode(message[0]), behaviour, send)
    if behaviour == "ignore_the_end":
        time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1])
