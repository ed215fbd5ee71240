"""The fork server process: keeps the decoders' libraries loaded and forks one confined child per request.

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
from shared.media.messages import ChildRequest, Forked, ForkFailed, Ready, decode_request, encode_message

_STDIN = 0


def main() -> None:
    """Serve until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    # Both lead to the parent's standard error. Descriptor 2 is left to the C libraries, see media_child.
    sys.stderr = sys.stdout
    configure_logging("INFO")
    gc.collect()
    gc.freeze()  # the children share these pages; a collection would copy them
    # A connection that breaks: the parent died before it had its answer.
    with contextlib.suppress(ConnectionError):
        _serve_requests(FdChannel(socket.socket(fileno=_STDIN)))
    os.killpg(0, signal.SIGKILL)


def _serve_requests(channel: FdChannel) -> None:
    channel.send(encode_message(Ready()))
    while (message := channel.receive()) is not None:
        payload, fds = message
        channel.send(encode_message(_fork_child(decode_request(payload), fds)))


def _fork_child(request: ChildRequest, fds: Sequence[int]) -> Forked | ForkFailed:
    upload_fd, answer_fd = fds
    try:
        if os.fork() == 0:
            serve_request(request, upload_fd=upload_fd, answer_fd=answer_fd)
    except OSError as error:
        return ForkFailed(str(error))
    finally:
        os.close(upload_fd)
        os.close(answer_fd)
    return Forked()


if __name__ == "__main__":
    main()
