"""A process that sends large files: `python -m tests.bench.sender PORT FILE`.

Each line on its standard input is a number: so many uploads of FILE to `POST /v1/jobs` at once. The answer is
one line of JSON: the ids of the jobs and the seconds until the last answer.
"""

import http.client
import json
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tests.bench.calls import BOUNDARY, HEADERS
from tests.bench.line_process import LineProcess, open_line_process

MODULE = "tests.bench.sender"
BLOCK_BYTES = 1 << 18
ANSWER_WITHIN_S = 600.0


class Sent(msgspec.Struct, frozen=True):
    """The jobs of the uploads, and the seconds until the last answer."""

    job_ids: tuple[str, ...]
    took_s: float


_sent = msgspec.json.Decoder(Sent)


class Sender:
    """The process, as the bench controls it."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def send(self, uploads: int) -> Sent:
        """Send the file so many times at once."""
        return _sent.decode(await self._process.ask(str(uploads).encode()))


@asynccontextmanager
async def open_sender(port: int, path: Path) -> AsyncIterator[Sender]:
    """Start the process; it ends with the block."""
    async with open_line_process(sys.executable, MODULE, str(port), str(path)) as process:
        yield Sender(process)


def write_silent_wav(path: Path, size_bytes: int) -> None:
    """Write a WAV file of silence, 16 kHz mono, with `size_bytes` of samples, all of them on the disk."""
    head = b"RIFF" + (36 + size_bytes).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    shape = (1, 1, 16_000, 32_000, 2, 16)
    sizes = (2, 2, 4, 4, 2, 2)
    head += b"".join(value.to_bytes(size, "little") for value, size in zip(shape, sizes, strict=True))
    with path.open("wb") as file:
        file.write(head + b"data" + size_bytes.to_bytes(4, "little"))
        for begin in range(0, size_bytes, BLOCK_BYTES):
            file.write(bytes(min(BLOCK_BYTES, size_bytes - begin)))


def send_file(port: int, path: Path) -> str:
    """Send one file, block by block, and return the id of its job."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    ).encode()
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN_S)
    connection.putrequest("POST", "/v1/jobs")
    for name, value in HEADERS.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(head) + path.stat().st_size + len(end)))
    connection.endheaders(head)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            connection.send(block)
    connection.send(end)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != http.client.ACCEPTED:
        raise RuntimeError(f"the upload was answered with {answer.status}: {content!r}")
    return str(json.loads(content)["id"])


def serve_lines(port: int, path: Path) -> None:
    """Send as many files as each line requests, until standard input ends."""
    for line in sys.stdin:
        uploads = int(line)
        began = time.perf_counter()
        with ThreadPoolExecutor(uploads) as pool:
            job_ids = list(pool.map(send_file, [port] * uploads, [path] * uploads))
        answer = Sent(tuple(job_ids), time.perf_counter() - began)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve_lines(int(sys.argv[1]), Path(sys.argv[2]))
