"""Messages with file descriptors over a unix stream socket."""

import os
import select
import socket
import struct
import threading
from collections.abc import Sequence

_LENGTH = struct.Struct("<I")
_MAX_DESCRIPTORS = 4


class FdChannel:
    """One end of a socket pair. Several threads may send; one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()

    def send(self, payload: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one message with duplicates of `descriptors`. The caller closes its own copies.

        Raises:
            OSError: the other end is closed.
        """
        frame = _LENGTH.pack(len(payload)) + payload
        with self._sending:
            sent = socket.send_fds(self._socket, [frame], list(descriptors)) if descriptors else 0
            if unsent := frame[sent:]:  # after a full send the peer may be gone, which is not an error
                self._socket.sendall(unsent)

    def receive(self) -> tuple[bytes, list[int]] | None:
        """Wait for the next message, and return it with its descriptors; None if the other end is closed."""
        try:
            header, descriptors, _, _ = socket.recv_fds(self._socket, _LENGTH.size, _MAX_DESCRIPTORS)
        except ConnectionResetError:
            return None
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - has no name
        header += self._receive_exactly(_LENGTH.size - len(header)) if header else b""
        if len(header) < _LENGTH.size:
            return None
        length = _LENGTH.unpack(header)[0]
        payload = self._receive_exactly(length)
        return (payload, descriptors) if len(payload) == length else None

    def is_readable(self, timeout_s: float) -> bool:
        """Return whether a message or the end of the channel arrives within `timeout_s`."""
        poll = select.poll()  # `select` cannot watch descriptors of 1024 and more
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """Close this end; the other end then receives None."""
        self._socket.close()

    def _receive_exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            chunk = self._socket.recv(count - len(received))
            if not chunk:
                break
            received += chunk
        return bytes(received)
