"""The reading of a job's audio in the model process: a thread cuts windows ahead of the engine.

So a batch never waits for a job in a long silence, and speech detection runs while the engine decodes.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

import msgspec
import structlog

from shared.audio_format import AudioStart, SeekPoint
from shared.jobs import FailureCode, SpeechDetection
from shared.media.pcm_frames import DecodingFailed
from worker.audio.audio_starts import AudioStarts
from worker.audio.vad import SileroStream, SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_fixed_windows, cut_windows
from worker.engines.protocol import DecodingStopped, RowFailure, RowStopped, Samples, Window
from worker.model import messages

# As in Silero: speech ends at a probability this much below the threshold, but never at zero.
_HYSTERESIS = 0.15
_MIN_SILENCE = 0.01

_logger = structlog.get_logger(__name__)

Sound = Iterable[Samples | SeekPoint]


class PlacedWindow(msgspec.Struct, frozen=True):
    """A window, and the place from which a later claim would read on after it."""

    window: Window
    audio_start: AudioStart


class WindowCutter:
    """The cutting of windows for an engine: where the VAD found speech, or at fixed lengths without a VAD."""

    def __init__(self, *, window_s: float) -> None:
        self._window_s = window_s
        self._vad: SileroVad | None = None

    def load_vad(self) -> None:
        """Load the speech detector. Within a job, this load could not be stopped.

        Raises:
            ModelUnavailable: the speech detector is not installed.
        """
        self._vad = SileroVad()

    def cut(self, order: messages.DecodeJob, sound: Sound) -> Generator[PlacedWindow]:
        """Yield the windows of a job, each as soon as later audio cannot change it.

        Raises:
            DecodingFailed: the decoder reported an error or died.
        """
        start = order.checkpoint.audio_start
        detector = self._vad.open_stream(start) if self._vad else None
        starts = AudioStarts(start, detector)
        for window in self._cut(order, detector, starts.collect(sound)):
            yield PlacedWindow(window, starts.choose(window))

    def _cut(
        self, order: messages.DecodeJob, detector: SileroStream | None, blocks: Iterable[Samples]
    ) -> Iterator[Window]:
        if detector is None:
            return cut_fixed_windows(blocks, self._window_s, checkpoint=order.checkpoint)
        config = _configure(WindowConfig(window_s=self._window_s), order.request.speech_detection)
        return cut_windows(blocks, detector, config=config, checkpoint=order.checkpoint)


class WindowReader:
    """A thread that reads up to `ahead` windows of one job.

    reading --no more windows, an error, a stop, `close`--> ended. `changed` guards the state, and is notified
    of changes: hold it while you look, take or close. `is_over` is set by `close`, and stops the reading.
    """

    def __init__(
        self,
        windows: Generator[PlacedWindow],
        changed: threading.Condition,
        is_over: threading.Event,
        *,
        ahead: int,
    ) -> None:
        self._windows = windows
        self._changed = changed
        self._is_over = is_over
        self._ahead = ahead
        self._ready: deque[PlacedWindow] = deque()
        self.is_ended = False
        """Whether no windows come after the ready ones."""
        self.cause: RowFailure | RowStopped | None = None
        """The reason for which reading ended early; None if all of the audio is read."""
        threading.Thread(target=self._read, name="windows", daemon=True).start()

    @property
    def ready(self) -> int:
        """The number of windows that can be taken."""
        return len(self._ready)

    def peek(self) -> PlacedWindow:
        """Return the next ready window, which stays there."""
        return self._ready[0]

    def take(self) -> PlacedWindow:
        """Return the next ready window."""
        self._changed.notify_all()
        return self._ready.popleft()

    def close(self) -> None:
        """Let the thread end. Ready windows are dropped."""
        self._is_over.set()
        self._ready.clear()
        self._changed.notify_all()

    def _read(self) -> None:
        with closing(self._windows):
            cause = self._read_windows()
        with self._changed:
            self.cause, self.is_ended = cause, True
            self._changed.notify_all()

    def _read_windows(self) -> RowFailure | RowStopped | None:
        try:
            for window in self._windows:
                if not self._keep(window):
                    break
        except DecodingStopped:
            return RowStopped()
        except DecodingFailed as error:
            return RowFailure(error.code, error.message)
        except Exception as error:  # border of the thread: its job fails, and others go on
            _logger.exception("windows_not_read")
            return RowFailure(FailureCode.ENGINE_ERROR, f"The audio could not be cut into windows: {error}")
        return None

    def _keep(self, window: PlacedWindow) -> bool:
        """Add a window, and wait until there is room for another one; return false after `close`."""
        with self._changed:
            self._ready.append(window)
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._ready) < self._ahead or self._is_over.is_set())
            return not self._is_over.is_set()


def watch_stops(sound: Sound, is_stopped: Callable[[], bool]) -> Sound:
    """Yield `sound` until the run is stopped. Works in long silence too.

    Raises:
        DecodingStopped: the run was stopped.
    """
    for block in sound:
        if is_stopped():
            raise DecodingStopped
        yield block


def _configure(config: WindowConfig, detection: SpeechDetection | None) -> WindowConfig:
    """Return `config` with a client's numbers. Values derived from them keep their relation to them."""
    if detection is None:
        return config
    return msgspec.structs.replace(
        config,
        speech_threshold=detection.threshold,
        silence_threshold=min(detection.threshold, max(_MIN_SILENCE, detection.threshold - _HYSTERESIS)),
        edge_silence_s=min(detection.padding_s, config.window_s / 2),  # a window must have room for speech
        min_pause_s=detection.pause_s,
        min_speech_s=min(config.min_speech_s, detection.pause_s / 2),
    )
