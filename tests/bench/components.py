"""The time of each piece of a call on its own, used as the server uses it."""

import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import Checkpoint, Claim, Endpoint, Priority, TranscriptionRequest, Upload
from shared.media.messages import MediaLimits
from shared.upload_store import UploadStore
from tests.bench.clips import write_wav
from tests.support.media_service import RunningMediaService
from worker.audio.windows import cut_fixed_windows
from worker.engines.scripted.engine import ScriptedConfig, ScriptedEngine
from worker.model.host import ModelHost
from worker.model.messages import JobDecoded
from worker.settings import WorkerSettings

WARM_UP = 10
WINDOW_S = 30.0
MODEL_PROCESS = ("env", "ENGINE=scripted", sys.executable, "-P", "-m", "worker.model.process_start")

_BLOCK_BYTES = 1 << 16


class _SilentListener:
    """A listener that drops all partials."""

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Do nothing."""

    def is_stopped(self) -> bool:
        """Return False: this job is never stopped."""
        return False


class Components:
    """The pieces, with one clip; call all methods from the thread that created this."""

    def __init__(self, folder: Path, samples: npt.NDArray[np.int16]) -> None:
        folder.mkdir()
        settings = WorkerSettings(data_dir=folder)
        self._uploads = UploadStore(folder / "uploads")
        self._uploads.prepare()
        self._samples = samples
        self._file = write_wav(samples)
        limits = MediaLimits(settings.max_audio_s, settings.decoder_memory_bytes, settings.decoder_cpu_s)
        self._media = RunningMediaService(limits, probe_timeout_s=settings.probe_timeout_s)
        self._path = self._store()

    def measure(self, times: int) -> Mapping[str, Sequence[float]]:
        """Return the times of each piece, in ms."""
        with self._media:
            return {
                "file written, synced and renamed": _time(lambda: self._store().unlink(), times),
                "probe in a sandboxed decoder": _time(lambda: self._media.probe(self._path), times),
                "decoding in a sandboxed decoder, to the end of its pipe": _time(self._decode, times),
                "the same into a model process, until it reports the end": self._time_model_process(times),
            }

    def measure_engine(self, times: int) -> Sequence[float]:
        """Return the times of the engine alone for the clip, in ms."""
        engine = ScriptedEngine(ScriptedConfig())
        samples = self._samples.astype(np.float32) / np.float32(1 << 15)
        windows = list(cut_fixed_windows([samples], WINDOW_S))
        request, listener = TranscriptionRequest(), _SilentListener()
        return _time(lambda: engine.decode_windows(windows, request, listener), times)

    def _store(self) -> Path:
        name = uuid.uuid4().hex
        writer = self._uploads.begin(name)
        writer.write(self._file)
        writer.commit()
        return self._uploads.path_of(name)

    def _decode(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as pcm:
            try:
                self._media.decode_into(self._path, writing)
            finally:
                os.close(writing)
            while pcm.read(_BLOCK_BYTES):
                pass

    def _time_model_process(self, times: int) -> Sequence[float]:
        host = ModelHost(MODEL_PROCESS)
        try:
            return _time(lambda: self._run_job(host), times)
        finally:
            host.unload()

    def _run_job(self, host: ModelHost) -> None:
        reading, writing = os.pipe()
        try:
            self._media.decode_into(self._path, writing)
            host.begin_job(self._claim(), reading)
        finally:
            os.close(reading)
            os.close(writing)
        while not isinstance(host.receive(1.0), JobDecoded):
            pass

    def _claim(self) -> Claim:
        upload = Upload("clip", "clip.wav", len(self._file), "", len(self._samples) / SAMPLE_RATE_HZ)
        return Claim(
            "a",
            Endpoint.SYNC,
            Priority.INTERACTIVE,
            upload,
            TranscriptionRequest(),
            claim_no=1,
            attempt=1,
            checkpoint=Checkpoint(),
        )


def _time(run: Callable[[], object], times: int) -> Sequence[float]:
    """Return the times of `run`, in ms, after some calls to warm up."""
    taken = []
    for _ in range(WARM_UP + times):
        began = time.perf_counter()
        run()
        taken.append((time.perf_counter() - began) * 1000)
    return taken[WARM_UP:]
