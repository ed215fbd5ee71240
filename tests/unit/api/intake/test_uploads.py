"""Uploads are written by few threads, in batches of bounded memory."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from api.intake.uploads import IncomingUpload
from shared.upload_store import UploadStore, UploadWriter

BATCH_BYTES = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> UploadStore:
    return UploadStore(tmp_path)


async def repeat(piece: bytes, times: int) -> AsyncGenerator[bytes]:
    for _ in range(times):
        yield piece


async def test_a_file_of_many_pieces_is_written_in_order(store: UploadStore) -> None:
    async def count() -> AsyncGenerator[bytes | memoryview]:
        for number in range(1_000):
            yield number.to_bytes(2, "big")
        yield memoryview(bytes(2 * BATCH_BYTES))

    upload = IncomingUpload(store, "a", asyncio.Semaphore(1))
    await upload.write(count())
    upload.flush().commit()

    expected = b"".join(number.to_bytes(2, "big") for number in range(1_000)) + bytes(2 * BATCH_BYTES)
    assert store.path_of("a").read_bytes() == expected


async def test_small_pieces_are_written_before_they_fill_a_batch(store: UploadStore) -> None:
    upload = IncomingUpload(store, "a", asyncio.Semaphore(1))

    await upload.write(repeat(b"x", 10_000))

    assert store.path_of("a.part").stat().st_size > 9_000
    upload.flush().abort()


async def test_no_more_uploads_are_written_at_once_than_allowed(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, lock = 0, 0, threading.Lock()
    write = UploadWriter.write

    def count_and_write(writer: UploadWriter, chunk: bytes | memoryview) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        write(writer, chunk)
        with lock:
            running -= 1

    monkeypatch.setattr(UploadWriter, "write", count_and_write)
    writing = asyncio.Semaphore(2)
    uploads = [IncomingUpload(store, name, writing) for name in "abcdef"]

    await asyncio.gather(*(upload.write(repeat(bytes(BATCH_BYTES), 5)) for upload in uploads))

    assert 1 <= most <= 2
    for upload in uploads:
        upload.flush().abort()
