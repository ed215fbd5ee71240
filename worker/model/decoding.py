"""The child's side of one job: audio through windows and the engine, reports out."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec
import structlog

from shared.jobs import FailureCode, SpeechDetection
from shared.media.pcm_frames import DecodingFailed
from shared.transcripts import main_language
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
)
from worker.jobs.unsent_partials import UnsentPartials
from worker.model import messages

PARTIAL_INTERVAL_S = 0.05
"""Seconds of a job for each partial that is sent of it, of all its windows; what comes sooner is joined."""

# As Silero does it: speech ends at a probability this much below where it begins, but not at nothing at all.
_HYSTERESIS = 0.15
_MIN_SILENCE = 0.01

_logger = structlog.get_logger(__name__)

ALIVE_INTERVAL_S = 5.0
"""How often the process says that it is alive while it finds nothing to decode, as in long silence."""

SendReport = Callable[[messages.Report], None]


class JobListener:
    """Follows an engine through one run: joins partials that come fast, and tells it when to stop.

    `wait_for_leave` returns when the next batch of windows may be decoded, or the run was stopped. `clock`
    counts seconds.
    """

    def __init__(
        self,
        run: int,
        send: SendReport,
        is_stopped: Callable[[], bool],
        wait_for_leave: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._send = send
        self._is_stopped = is_stopped
        self._wait_for_leave = wait_for_leave
        self._clock = clock
        self._alive_at = clock()
        self._unsent = UnsentPartials()
        self._sent_at = float("-inf")

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Send what is new, or keep it for the next time if the last was just now.

        Of many windows, each time as much is sent as the time since the last allows.
        """
        self._unsent.add(messages.PartialDecoded(self._run, window, delta, tail, language))
        now = self._clock()
        since_s = now - self._sent_at
        while since_s >= PARTIAL_INTERVAL_S and (partial := self._unsent.take_next()) is not None:
            self._send(partial)
            since_s -= PARTIAL_INTERVAL_S
            # What waits still may go as soon as if this had gone on time.
            self._sent_at = now - since_s if self._unsent else now

    def forget_unsent(self) -> None:
        """Never send what was kept, since its windows are finished."""
        self._unsent.forget()

    def is_stopped(self) -> bool:
        """Whether the engine must stop."""
        return self._is_stopped()

    def ask_leave(self) -> None:
        """Return when the next batch may be decoded.

        Raises:
            DecodingStopped: it may not.
        """
        self._wait_for_leave()
        self._raise_if_stopped()

    def watch(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """`blocks` until a stop, which is heard in long silence as well; says now and then that it is alive.

        Raises:
            DecodingStopped: the run was stopped.
        """
        for block in blocks:
            self._raise_if_stopped()
            now = self._clock()
            if now - self._alive_at >= ALIVE_INTERVAL_S:
                self._alive_at = now
                self._send(messages.AudioRead(self._run))
            yield block

    def _raise_if_stopped(self) -> None:
        if self._is_stopped():
            raise DecodingStopped


class JobDecoder:
    """Takes the audio of jobs through windows and engine, and says what came out of it."""

    def __init__(self, engine: Engine, *, window_s: float, first_window_s: float) -> None:
        self._engine = engine
        self._window_s = window_s
        self._first_window_s = first_window_s
        self._vad: SileroVad | None = None

    def prepare(self) -> None:
        """Load what is needed beside the engine, so that no job has to wait for it where it hears no stop.

        Raises:
            ModelUnavailable: the model that finds speech cannot be had.
        """
        if self._engine.needs_speech:
            self._vad = SileroVad()

    def decode(
        self, order: messages.DecodeJob, blocks: Iterable[Samples], listener: JobListener
    ) -> Iterator[messages.Report]:
        """Transcribe one job, and yield its reports: finished windows, then how it ended."""
        try:
            yield from self._decode_windows(order, blocks, listener)
            yield messages.JobDecoded(order.run)
        except DecodingStopped:
            yield messages.JobStopped(order.run)
        except WordsUnsupported as error:
            yield messages.JobFailed(order.run, FailureCode.WORDS_UNSUPPORTED, str(error))
        except ModelUnavailable as error:  # of a second model, such as the one that times words
            yield messages.JobFailed(order.run, FailureCode.MODEL_UNAVAILABLE, str(error))
        except DecodingFailed as error:
            yield messages.JobFailed(order.run, error.code, error.message)
        except Exception as error:  # border: what an engine raises fails the job, not the process
            _logger.exception("engine_failed", run=order.run)
            yield messages.JobFailed(order.run, FailureCode.ENGINE_ERROR, f"The engine failed: {error}")

    def _decode_windows(
        self, order: messages.DecodeJob, blocks: Iterable[Samples], listener: JobListener
    ) -> Iterator[messages.WindowDecoded]:
        language = order.checkpoint.language
        windows = self._cut(order, listener.watch(blocks))
        batches = _batch(windows, self._engine.batch_windows, first_alone=order.is_early_text_wanted)
        for number, batch in enumerate(batches):
            # Here and nowhere else a run can be left without loss: all that was decoded has been reported.
            if number > 0:
                listener.ask_leave()
            elif order.is_draft_wanted and isinstance(self._engine, DraftingEngine):
                self._engine.draft_window(batch[0], order.request, listener)
            transcripts = self._engine.decode_windows(
                batch, order.request, listener, previous_language=language
            )
            listener.forget_unsent()
            for window, transcript in zip(batch, transcripts, strict=True):
                language = main_language(transcript.segments) or language
                yield messages.WindowDecoded(
                    order.run,
                    window.index,
                    window.end_sample,
                    transcript.segments,
                    transcript.warnings,
                    transcript.is_complete,
                    transcript.token_counts,
                )

    def _cut(self, order: messages.DecodeJob, blocks: Iterable[Samples]) -> Iterator[Window]:
        start_sample, first_index = order.checkpoint.resume_sample, order.checkpoint.windows
        if not self._engine.needs_speech:
            return cut_fixed_windows(
                blocks, self._window_s, start_sample=start_sample, first_index=first_index
            )
        first_window_s = self._first_window_s if order.is_early_text_wanted else None
        return cut_windows(
            blocks,
            self._open_detector(),
            config=_configure(
                WindowConfig(window_s=self._window_s, first_window_s=first_window_s),
                order.request.speech_detection,
            ),
            start_sample=start_sample,
            first_index=first_index,
        )

    def _open_detector(self) -> SileroStream:
        if self._vad is None:
            self._vad = SileroVad()
        return self._vad.open_stream()


def _configure(config: WindowConfig, detection: SpeechDetection | None) -> WindowConfig:
    """`config` with the numbers that a client gave; what follows from them keeps its relation to them."""
    if detection is None:
        return config
    shortest_s = min(config.window_s, config.first_window_s or config.window_s)
    return msgspec.structs.replace(
        config,
        speech_threshold=detection.threshold,
        silence_threshold=min(detection.threshold, max(_MIN_SILENCE, detection.threshold - _HYSTERESIS)),
        edge_silence_s=min(detection.padding_s, shortest_s / 2),  # a window must have room for speech
        min_pause_s=detection.pause_s,
        min_speech_s=min(config.min_speech_s, detection.pause_s / 2),
    )


def _batch(windows: Iterator[Window], size: int, *, first_alone: bool) -> Iterator[list[Window]]:
    if first_alone:
        yield from ([window] for window in islice(windows, 1))
    while batch := list(islice(windows, size)):
        yield batch
