"""The decoding of one job in the model process: audio through windows and the engine, reports out."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec
import structlog

from shared.audio_format import SeekPoint
from shared.events import Partial
from shared.jobs import FailureCode, SpeechDetection
from shared.media.pcm_frames import DecodingFailed
from shared.transcripts import FinishedWindow, main_language
from worker.audio.audio_starts import AudioStarts
from worker.audio.vad import SileroStream, SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_fixed_windows, cut_windows
from worker.engines.protocol import (
    DecodingStopped,
    DraftingEngine,
    Engine,
    ModelUnavailable,
    Samples,
    Window,
    WordsUnsupported,
    raise_if_stopped,
)
from worker.model import messages
from worker.partials import PartialThrottle

ALIVE_INTERVAL_S = 5.0
"""Seconds between two signs of life while there is nothing to decode, as in long silence."""

# As in Silero: speech ends at a probability this much below the threshold, but never at zero.
_HYSTERESIS = 0.15
_MIN_SILENCE = 0.01

_logger = structlog.get_logger(__name__)

SendReport = Callable[[messages.Report], None]


class JobListener:
    """The listener of an engine for one run: sends partials, and reports when to stop.

    `wait_to_continue` returns when the next batch may be decoded, or the run is stopped.
    """

    def __init__(
        self,
        run: int,
        send: SendReport,
        *,
        is_stopped: Callable[[], bool],
        wait_to_continue: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._send = send
        self._is_stopped = is_stopped
        self._wait_to_continue = wait_to_continue
        self._alive_at = time.monotonic()
        self._partials = PartialThrottle(lambda partial: send(messages.PartialDecoded(run, partial)))

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Send new text of a window, or join it to later text if the last partial was just sent."""
        self._partials.add(Partial(window, delta, tail, language))

    def discard_partials(self) -> None:
        """Drop the partials that wait, since their windows are finished."""
        self._partials.discard()

    def is_stopped(self) -> bool:
        """Return whether the engine must stop. Its calls also show that the process is alive."""
        self._report_alive()
        return self._is_stopped()

    def wait_for_next_batch(self) -> None:
        """Return when the next batch may be decoded.

        Raises:
            DecodingStopped: the run was stopped.
        """
        self._wait_to_continue()
        raise_if_stopped(self)

    def watch(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Yield `blocks`, and report now and then that the process is alive. Works in long silence too.

        Raises:
            DecodingStopped: the run was stopped.
        """
        for block in blocks:
            raise_if_stopped(self)
            yield block

    def _report_alive(self) -> None:
        now = time.monotonic()
        if now - self._alive_at >= ALIVE_INTERVAL_S:
            self._alive_at = now
            self._send(messages.AudioRead(self._run))


class JobDecoder:
    """Takes the audio of jobs through windows and the engine."""

    _vad: SileroVad  # since `prepare`, if the engine needs speech

    def __init__(self, engine: Engine, *, window_s: float) -> None:
        self._engine = engine
        self._window_s = window_s

    def prepare(self) -> None:
        """Load the speech detector if the engine needs it. Within a job, this load could not be stopped.

        Raises:
            ModelUnavailable: the speech detector is not installed.
        """
        if self._engine.needs_speech:
            self._vad = SileroVad()

    def decode(
        self, order: messages.DecodeJob, sound: Iterable[Samples | SeekPoint], listener: JobListener
    ) -> Iterator[messages.Report]:
        """Transcribe one job, and yield its reports: finished windows, then the end.

        A window that is known to be the last comes with the end, so that one step of the record stores both.
        """
        try:
            for window, finished in self._decode_windows(order, sound, listener):
                if window.is_last:
                    yield messages.JobDecoded(order.run, finished)
                    return
                yield messages.WindowDecoded(order.run, finished)
            yield messages.JobDecoded(order.run)
        except DecodingStopped:
            yield messages.JobStopped(order.run)
        except WordsUnsupported as error:
            yield messages.JobFailed(order.run, FailureCode.WORDS_UNSUPPORTED, str(error))
        except ModelUnavailable as error:  # of a second model, such as the aligner
            yield messages.JobFailed(order.run, FailureCode.MODEL_UNAVAILABLE, str(error))
        except DecodingFailed as error:
            yield messages.JobFailed(order.run, error.code, error.message)
        except Exception as error:  # border: an error of the engine fails the job, not the process
            _logger.exception("engine_failed", run=order.run)
            yield messages.JobFailed(order.run, FailureCode.ENGINE_ERROR, f"The engine failed: {error}")

    def _decode_windows(
        self, order: messages.DecodeJob, sound: Iterable[Samples | SeekPoint], listener: JobListener
    ) -> Iterator[tuple[Window, FinishedWindow]]:
        language, start = order.checkpoint.language, order.checkpoint.audio_start
        detector = self._vad.open_stream(start) if self._engine.needs_speech else None
        starts = AudioStarts(start, detector)
        windows = self._cut(order, detector, listener.watch(starts.collect(sound)))
        is_first_alone = order.is_early_text_wanted
        if is_first_alone and isinstance(self._engine, DraftingEngine):
            windows, is_first_alone = _draft_first(self._engine, windows, order, listener), False
        batches = _batch(windows, self._engine.batch_windows, first_alone=is_first_alone)
        for number, batch in enumerate(batches):
            # Only here can a run end without loss: all decoded windows are reported.
            if number > 0:
                listener.wait_for_next_batch()
            transcripts = self._engine.decode_windows(
                batch, order.request, listener, previous_language=language
            )
            for window, transcript in zip(batch, transcripts, strict=True):
                listener.discard_partials()
                language = main_language(transcript.segments) or language
                finished = FinishedWindow(
                    **msgspec.structs.asdict(transcript),
                    window=window.index,
                    resume_sample=window.end_sample,
                    audio_start=starts.choose(window),
                )
                yield window, finished

    def _cut(
        self, order: messages.DecodeJob, detector: SileroStream | None, blocks: Iterable[Samples]
    ) -> Iterator[Window]:
        if detector is None:
            return cut_fixed_windows(blocks, self._window_s, checkpoint=order.checkpoint)
        config = _configure(WindowConfig(window_s=self._window_s), order.request.speech_detection)
        return cut_windows(blocks, detector, config=config, checkpoint=order.checkpoint)


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


def _draft_first(
    engine: DraftingEngine, windows: Iterator[Window], order: messages.DecodeJob, listener: JobListener
) -> Iterator[Window]:
    """Yield `windows`, and publish a draft of the first one before the next is read."""
    for first in islice(windows, 1):
        engine.draft_window(first, order.request, listener)
        yield first
    yield from windows


def _batch(windows: Iterator[Window], size: int, *, first_alone: bool) -> Iterator[list[Window]]:
    if first_alone:
        yield from ([window] for window in islice(windows, 1))
    while batch := list(islice(windows, size)):
        yield batch
