"""The fork server process: keeps the decoders' libraries loaded and forks one confined child per request.

The child of the next request is forked ahead, in a pause; where requests come faster, each when it comes.

Standard input is its control socket. It ends, and its children with it, when the parent closes the other
end, by dying if need be. It must lead its own process group and must never start a thread.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence

from shared.fd_channel import FdChannel
from shared.logs import configure_logging
from shared.media.media_child import serve_request
from shared.media.messages import Forked, ForkFailed, Ready, decode_request, encode_message
from shared.media.spare_child import SpareChild, warm_up

_STDIN = 0
# Forking ahead at once would take its CPU time from the child that has just begun.
_PAUSE_S = 0.01


def main() -> None:
    """Serve until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    # Both lead to the parent's standard error. Descriptor 2 is left to the C libraries, see media_child.
    sys.stderr = sys.stdout
    configure_logging("INFO")
    warm_up()
    gc.collect()
    gc.freeze()  # the children share these pages; a collection would copy them
    # A connection that breaks: the parent died before it had its answer.
    with contextlib.suppress(ConnectionError):
        _serve_requests(FdChannel(socket.socket(fileno=_STDIN)))
    os.killpg(0, signal.SIGKILL)


def _serve_requests(channel: FdChannel) -> None:
    channel.send(encode_message(Ready()))
    spare = _fork_ahead(channel)
    while (message := channel.receive()) is not None:
        payload, fds = message
        answer = _start_child(payload, fds, spare)
        channel.send(encode_message(answer))
        spare = _fork_ahead(channel)


def _fork_ahead(channel: FdChannel) -> SpareChild | None:
    """A spare child, if there is a pause to fork it in and room for it."""
    if channel.is_readable(_PAUSE_S):
        return None
    with contextlib.suppress(OSError):
        return SpareChild(_STDIN)
    return None


def _start_child(payload: bytes, fds: Sequence[int], spare: SpareChild | None) -> Forked | ForkFailed:
    upload_fd, answer_fd = fds
    try:
        if spare is not None and spare.hand_over(payload, fds):
            return Forked()
        if os.fork() == 0:
            serve_request(decode_request(payload), upload_fd=upload_fd, answer_fd=answer_fd)
    except OSError as error:
        return ForkFailed(str(error))
    finally:
        os.close(upload_fd)
        os.close(answer_fd)
    return Forked()


if __name__ == "__main__":
    main()
