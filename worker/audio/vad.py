"""Voice activity: the probability of speech in each 32 ms of a stream, by Silero VAD, block by block."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.engines.protocol import ModelUnavailable, Samples

CHUNK_SAMPLES = 512

# The model also sees the end of the previous chunk. All three sizes belong to the ONNX file.
_CONTEXT_SAMPLES = 64
_STATE_SHAPE = (1, 1, 128)
# Longer runs are slower, since the encoder's activations no longer fit into the caches.
_CHUNKS_PER_RUN = 64

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

    def open_stream(self) -> "SileroStream":
        """Return a detector for one stream of samples from its start."""
        return SileroStream(self._session)


class SileroStream:
    """Speech probabilities of one stream by an ONNX session; memory does not grow with its length."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._hidden = np.zeros(_STATE_SHAPE, np.float32)
        self._cell = np.zeros(_STATE_SHAPE, np.float32)
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._rest = np.zeros(0, np.float32)

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
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def finish(self) -> Probabilities:
        """Return the probability of the last, incomplete chunk, padded with silence; may be empty."""
        if not len(self._rest):
            return np.zeros(0, np.float32)
        return self.detect(np.zeros(CHUNK_SAMPLES - len(self._rest), np.float32))

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
