"""A web server on loopback that serves audio, or fails to in many ways."""

import gzip
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.audio import make_tones, write_wav

AUDIO = write_wav(make_tones(2))
_ACCEPT_POLL_S = 0.05
_HEAD = b"HTTP/1.1 200 OK\r\n"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: to close is to reset


class HostileSource:
    """Serves one behaviour for each path, within a `with` block.

    `seen` holds each request's target and head; `left` is set when a client has closed on a path that hangs.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.left = threading.Event()
        self._is_over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(_ACCEPT_POLL_S)
        self._threads = [threading.Thread(target=self._accept)]
        self._behaviours: dict[str, Callable[[socket.socket], object]] = {
            "/sound.wav": lambda client: client.sendall(_with_length(AUDIO)),
            "/chunked.wav": lambda client: client.sendall(_in_chunks(AUDIO)),
            "/until-close.wav": lambda client: client.sendall(_HEAD + b"\r\n" + AUDIO),
            "/text.wav": lambda client: client.sendall(_with_length(b"no audio at all" * 100)),
            "/empty.wav": lambda client: client.sendall(_with_length(b"")),
            "/missing.wav": lambda client: client.sendall(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            ),
            "/broken.wav": lambda client: client.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
            "/part.wav": lambda client: client.sendall(
                _with_length(AUDIO).replace(b"200 OK", b"206 Part", 1)
            ),
            "/moved.wav": lambda client: client.sendall(
                b"HTTP/1.1 302 Found\r\nLocation: /sound.wav\r\nContent-Length: 0\r\n\r\n"
            ),
            "/gzip.wav": lambda client: client.sendall(
                _with_length(gzip.compress(bytes(1 << 20)), b"Content-Encoding: gzip\r\n")
            ),
            "/garbage.wav": lambda client: client.sendall(b"\x00\xffSSH-2.0-none\r\n\r\n" * 10),
            "/says-more.wav": lambda client: client.sendall(_with_length(AUDIO, said=len(AUDIO) + 1)),
            "/says-less.wav": lambda client: client.sendall(_with_length(AUDIO, said=10)),
            "/says-no-number.wav": lambda client: client.sendall(_HEAD + b"Content-Length: -5\r\n\r\nabc"),
            "/says-too-much.wav": self._say_too_much,
            "/endless.wav": lambda client: self._send_for_ever(client, _HEAD + b"\r\n", bytes(1 << 16)),
            "/endless-chunks.wav": lambda client: self._send_for_ever(
                client, _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(1 << 16) + b"\r\n"
            ),
            "/endless-head.wav": lambda client: self._send_for_ever(client, _HEAD, b"X-More: yes\r\n" * 100),
            "/reset.wav": self._reset,
            "/stalls.wav": self._stall,
            "/silent.wav": self._wait_for_end,
            "/trickles.wav": self._trickle,
        }
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def targets(self) -> list[str]:
        """Return the requested paths, in order."""
        return [target for target, _ in self.seen]

    def __enter__(self) -> Self:
        """Start to serve."""
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                client, _ = self._listening.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(_ACCEPT_POLL_S)
        with client, suppress(OSError):
            head = self._read_head(client)
            target = head.split(" ")[1]
            self.seen.append((target, head))
            client.settimeout(None)
            self._behaviours[urlsplit(target).path](client)

    def _read_head(self, client: socket.socket) -> str:
        head = b""
        while b"\r\n\r\n" not in head and not self._is_over.is_set():
            with suppress(TimeoutError):
                head += client.recv(65_536)
        return head.decode()

    def _say_too_much(self, client: socket.socket) -> None:
        client.sendall(_HEAD + b"Content-Length: 99999999999\r\n\r\n")
        self._wait_for_end(client)

    def _send_for_ever(self, client: socket.socket, head: bytes, piece: bytes) -> None:
        try:
            client.sendall(head)
            while not self._is_over.is_set():
                client.sendall(piece)
        except OSError:
            self.left.set()

    def _reset(self, client: socket.socket) -> None:
        client.sendall(_with_length(AUDIO)[: len(AUDIO) // 2])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _stall(self, client: socket.socket) -> None:
        client.sendall(_with_length(AUDIO)[: len(AUDIO) // 2])
        self._wait_for_end(client)

    def _trickle(self, client: socket.socket) -> None:
        for byte in _bytes_of(_with_length(AUDIO)):
            client.sendall(byte)
            if self._is_over.wait(_ACCEPT_POLL_S):
                return

    def _wait_for_end(self, client: socket.socket) -> None:
        """Send nothing more until the client closes."""
        client.settimeout(_ACCEPT_POLL_S)
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                if not client.recv(1):
                    self.left.set()
                    return


def _with_length(body: bytes, headers: bytes = b"", *, said: int | None = None) -> bytes:
    length = len(body) if said is None else said
    return _HEAD + headers + b"Content-Length: %d\r\n\r\n" % length + body


def _in_chunks(body: bytes) -> bytes:
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def _bytes_of(text: bytes) -> Iterator[bytes]:
    return (text[at : at + 1] for at in range(len(text)))
