"""Voice activity: the probability of speech in each 32 ms of a stream, by Silero VAD, block by block."""

from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.audio_format import FROM_THE_START, SAMPLE_RATE_HZ, AudioStart
from worker.engines.protocol import ModelUnavailable, Samples

CHUNK_SAMPLES = 512

# The model also sees the end of the previous chunk. All three sizes belong to the ONNX file.
_CONTEXT_SAMPLES = 64
_STATE_SHAPE = (1, 1, 128)
_STATE_SIZES = (128, 128, _CONTEXT_SAMPLES)
# Longer runs are slower, since the encoder's activations no longer fit into the caches.
_CHUNKS_PER_RUN = 64
# A state has 1.3 kB. Ten hours of silence, in which no window ends, have 7,200.
_STATE_INTERVAL_SAMPLES = 5 * SAMPLE_RATE_HZ

Probabilities = npt.NDArray[np.float32]


class SileroVad:
    """The Silero VAD model, loaded once. `open_stream` begins one upload.

    Raises:
        ModelUnavailable: the package with the model file is not installed.
    """

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # The arena would keep the largest buffers it ever used, but the model needs almost none.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            str(_locate_model()), options, providers=["CPUExecutionProvider"]
        )

    def open_stream(self, start: AudioStart = FROM_THE_START) -> "SileroStream":
        """Return a detector for the samples of one upload from `start` on."""
        return SileroStream(self._session, start)


class SileroStream:
    """Speech probabilities of one stream by an ONNX session, whose state depends on the last minute of sound.

    The stream keeps a state every few seconds, until `take_state` needs it no more.
    """

    def __init__(self, session: Any, start: AudioStart) -> None:
        self._session = session
        self._rest = np.zeros(0, np.float32)
        self._sample = start.sample  # of the upload, up to which chunks are complete
        state = np.zeros(sum(_STATE_SIZES), np.float32)
        if len(start.detector_state) == state.nbytes:
            state = np.frombuffer(start.detector_state, np.float32)
        hidden, cell, self._context = np.split(state, np.cumsum(_STATE_SIZES)[:-1])
        self._hidden, self._cell = hidden.reshape(_STATE_SHAPE), cell.reshape(_STATE_SHAPE)
        self._states = deque([self._describe_state()])

    def detect(self, samples: Samples) -> Probabilities:
        """Return the probabilities, in 0..1, of the 512-sample chunks that `samples` complete, in order.

        `samples` is float32 in -1..1 at 16 kHz, shape (n,) of any length.
        """
        pending = np.concatenate((self._rest, samples))
        whole = len(pending) - len(pending) % CHUNK_SAMPLES
        self._rest = pending[whole:].copy()
        runs = range(0, whole, _CHUNKS_PER_RUN * CHUNK_SAMPLES)
        ends = (min(start + runs.step, whole) for start in runs)
        found = [self._run_chunks(pending[start:end]) for start, end in zip(runs, ends, strict=True)]
        self._sample += whole
        if self._sample >= self._states[-1].sample + _STATE_INTERVAL_SAMPLES:
            self._states.append(self._describe_state())
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def finish(self) -> Probabilities:
        """Return the probability of the last, incomplete chunk, padded with silence; may be empty."""
        if not len(self._rest):
            return np.zeros(0, np.float32)
        return self.detect(np.zeros(CHUNK_SAMPLES - len(self._rest), np.float32))

    def take_state(self, sample: int) -> AudioStart:
        """Return the last state up to `sample`, and forget the earlier ones. Call it in rising order."""
        while len(self._states) > 1 and self._states[1].sample <= sample:
            self._states.popleft()
        return self._states[0]

    def _describe_state(self) -> AudioStart:
        state = np.concatenate((self._hidden.ravel(), self._cell.ravel(), self._context))
        return AudioStart(self._sample, detector_state=state.tobytes())

    def _run_chunks(self, samples: Samples) -> Probabilities:
        fresh = samples.reshape(-1, CHUNK_SAMPLES)
        tails = np.vstack((self._context, fresh[:-1, -_CONTEXT_SAMPLES:]))
        self._context = fresh[-1, -_CONTEXT_SAMPLES:].copy()
        known = {"input": np.hstack((tails, fresh)), "h": self._hidden, "c": self._cell}
        probabilities, self._hidden, self._cell = self._session.run(None, known)
        return probabilities  # type: ignore[no-any-return]


def _locate_model() -> Path:
    # Importing faster_whisper would load CTranslate2, only to get a path.
    package = find_spec("faster_whisper")
    if package is None or not package.submodule_search_locations:
        raise ModelUnavailable("The speech detector is missing: install the package faster-whisper.")
    return Path(package.submodule_search_locations[0], "assets", "silero_vad_v6.onnx")
