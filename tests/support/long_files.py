"""Hours of audio in small files, and the memory of the processes that decode them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import soundfile

from shared.audio_format import SAMPLE_RATE_HZ
from tests.support.server import RealServer

_MEASURED_EVERY_S = 0.05


def write_sparse_file(path: Path, remark: npt.NDArray[np.float32], *, minutes: int) -> Path:
    """Write a FLAC file of silence with `remark` (float32 at 16 kHz) at the start of every tenth minute."""
    silent = np.zeros(60 * SAMPLE_RATE_HZ, np.float32)
    spoken = silent.copy()
    spoken[: len(remark)] = remark
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1, format="FLAC") as file:
        for minute in range(minutes):
            file.write(silent if minute % 10 else spoken)
    return path


class MemoryWatch:
    """The peak memory of the worker, its model process and each of its other children, in bytes."""

    def __init__(self, server: RealServer) -> None:
        self.peaks: dict[str, int] = {}
        self._server = server
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator["MemoryWatch"]:
        """Measure within the `with` block."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        worker = psutil.Process(self._server.worker.pid)
        while not self._ended.wait(_MEASURED_EVERY_S):
            model = self._server.model_process()
            self._note("worker", worker)
            for child in worker.children(recursive=True):
                self._note("model" if child == model else "decoder", child)

    def _note(self, role: str, process: psutil.Process) -> None:
        try:
            size_bytes = process.memory_info().rss
        except psutil.NoSuchProcess:
            return
        self.peaks[role] = max(self.peaks.get(role, 0), size_bytes)
