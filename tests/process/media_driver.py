"""Shared parts of the media service's tests: services with other limits, whole decodes, and processes."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

from shared.audio_format import FROM_THE_START, AudioStart
from shared.media.client import MediaService
from shared.media.messages import MediaLimits
from shared.media.samples import read_pcm
from tests.support.media_files import only_samples
from tests.support.media_service import RunningMediaService
from tests.support.sandboxed_decoders import find_serving_decoders

PATIENCE_S = 30.0
"""Seconds that a test waits for an event. A passing test never waits that long."""


def make_service(
    *,
    max_audio_s: float = 7_200.0,
    memory_bytes: int = 1 << 30,
    cpu_s: float = 60.0,
    probe_timeout_s: float = 60.0,
) -> RunningMediaService:
    """Return a service that is not started yet."""
    return RunningMediaService(MediaLimits(max_audio_s, memory_bytes, cpu_s), probe_timeout_s=probe_timeout_s)


@contextmanager
def start_decoding(
    service: MediaService,
    path: Path,
    *,
    declared_duration_s: float | None = None,
    start: AudioStart = FROM_THE_START,
) -> Iterator[int]:
    """Provide the descriptor from which the sound of the file can be read."""
    reading, writing = os.pipe()
    try:
        try:
            service.decode_into(path, writing, declared_duration_s=declared_duration_s, start=start)
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def decode(
    service: MediaService,
    path: Path,
    *,
    declared_duration_s: float | None = None,
    start: AudioStart = FROM_THE_START,
) -> npt.NDArray[np.float32]:
    """Return all the sound of the file, shape (n,)."""
    with start_decoding(service, path, declared_duration_s=declared_duration_s, start=start) as reading:
        return np.concatenate([np.zeros(0, np.float32), *only_samples(read_pcm(reading))])


def fork_server(service: MediaService) -> psutil.Process:
    """Return the fork server that runs now."""
    assert service._server is not None
    return psutil.Process(service._server._process.pid)


def serving_decoder(service: MediaService) -> psutil.Process:
    """Return the one decoder that serves a request, as soon as it has received the request."""
    server = fork_server(service)
    wait_until(lambda: len(find_serving_decoders(server)) == 1)
    (decoder,) = find_serving_decoders(server)
    return decoder


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for a condition that no event reports."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.01)
