"""The engine `qwen3` under test: batches of clips, with shortages, stops and changed attention."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec
import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import WindowTranscript
from tests.gpu import messages
from tests.gpu.engine_patches import call_before, dropped, hold_memory, note_batches, refuse_batches, replaced
from worker.engines.protocol import Row, RowFailure, RowOutcome, RowStopped, Samples, Span, Window
from worker.engines.qwen3 import device, encoder
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.inputs import PromptProcessor
from worker.settings import WorkerSettings

ENGLISH = TranscriptionRequest(language_hint="en")
FREE = TranscriptionRequest()
# Letters that are a token each, so that a context at its limit in bytes has many tokens.
LETTERS = "q x z j v "
TWO_BLOCKS_S = 12


class Listener:
    """A listener that requests a stop since a moment, and can begin that moment at the first text."""

    def __init__(self, *, stops_at_text: bool = False) -> None:
        self._stops_at_text = stops_at_text
        self.stopped_at: float | None = None

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Take a partial."""
        if self._stops_at_text:
            self.stop()

    def is_stopped(self) -> bool:
        """Return whether a stop is requested."""
        return self.stopped_at is not None

    def stop(self) -> None:
        """Request a stop from now on."""
        self.stopped_at = self.stopped_at or time.monotonic()


class EngineRig:
    """The engine, and the clips that it decodes."""

    def __init__(self, clips: Sequence[Samples]) -> None:
        self._clips = clips
        self._settings = WorkerSettings()
        self._engine = Qwen3Engine(self._settings)

    def load(self) -> messages.ModelLoaded:
        """Load the model."""
        began = time.monotonic()
        name = self._engine.load(lambda _phase: None)
        load_s = time.monotonic() - began
        placement = self._engine._model.placement
        import torch  # noqa: PLC0415

        memory = device._read_memory(torch, name)
        return messages.ModelLoaded(
            device=name,
            dtype=str(placement.dtype),
            attention=device.choose_attention(torch, placement),
            rows=self._engine.batch_windows,
            load_s=load_s,
            free_bytes=memory.free_bytes if memory else None,
            total_bytes=memory.total_bytes if memory else None,
        )

    def decode_clips(self, rows: int, *, keeps_blocks: bool) -> messages.Texts:
        """Decode all clips, optionally with attention over all of a window as without the block mask."""
        with ExitStack() as stack:
            batches = stack.enter_context(note_batches())
            if not keeps_blocks:
                stack.enter_context(self._drop_masks())
            return self._decode_texts(rows, batches)

    def compare_blocks(self) -> messages.BlocksCompared:
        """Return how equal the vectors of two blocks are, encoded at once and each alone."""
        import torch  # noqa: PLC0415

        encoder = self._engine._model._encoder
        speech = np.resize(np.concatenate(self._clips), TWO_BLOCKS_S * SAMPLE_RATE_HZ)
        with torch.inference_mode():
            vectors = encoder._convolve(speech)
            _, end, _ = encoder._find_blocks([len(vectors)])
            alone = torch.cat([*encoder._attend([vectors[:end]]), *encoder._attend([vectors[end:]])])

            def compare() -> float:
                (together,) = encoder._attend([vectors])
                return float(torch.cosine_similarity(together.float(), alone.float(), dim=-1).mean())

            with_mask = compare()
            with self._drop_masks():
                return messages.BlocksCompared(with_mask, compare())

    def measure_memory(self, rows: int, context_bytes: int) -> messages.MemoryOfRows:
        """Decode windows of full length, and return how far the memory in use grew for each."""
        import torch  # noqa: PLC0415

        placement = self._engine._model.placement
        allowed = device._WINDOW_BYTES * placement.dtype.itemsize // 2
        request = msgspec.structs.replace(ENGLISH, context=(LETTERS * context_bytes)[:context_bytes])
        long = [self._make_row(number, self._fill_window(), request) for number in range(rows)]
        is_counted = placement.device.startswith("cuda")
        if is_counted:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        loaded = torch.cuda.memory_allocated() if is_counted else 0
        with note_batches() as batches:
            _decode(self._engine, long)
        peak = torch.cuda.max_memory_allocated() if is_counted else 0
        largest = min(batches, default=rows)
        return messages.MemoryOfRows((peak - loaded) // largest if is_counted else None, allowed, batches)

    def force_shortage(self, fitting: int, left_bytes: int) -> messages.Texts:
        """Decode all clips at once while other tensors hold the memory, or a stand-in for them on a CPU."""
        before = self._engine.batch_windows
        is_on_gpu = self._engine._model.placement.device.startswith("cuda")
        with hold_memory(left_bytes) if is_on_gpu else refuse_batches(fitting), note_batches() as batches:
            found = self._decode_texts(len(self._clips), batches)
        self._engine.batch_windows = before
        return found

    def stop_during(self, phase: messages.Phase, rows: int) -> messages.Stopped:
        """Stop a batch in a phase, and return how long that took."""
        listener = Listener(stops_at_text=phase is messages.Phase.DECODING)
        batch = [
            Row(self._make_row(number, self._fill_window(), ENGLISH).window, ENGLISH, listener)
            for number in range(rows)
        ]
        with self._stop_at(phase, listener):
            outcomes = _decode(self._engine, batch)
        ended_at, stopped_at = time.monotonic(), listener.stopped_at
        stopped = sum(isinstance(outcome, RowStopped) for outcome in outcomes)
        return messages.Stopped(None if stopped_at is None else ended_at - stopped_at, stopped)

    def align_words(self) -> messages.WordsFound:
        """Decode a large batch, then the first clip with word timestamps, for which the aligner is loaded."""
        import torch  # noqa: PLC0415

        self._decode_texts(len(self._clips), [])
        before = after = None
        if self._engine._model.placement.device.startswith("cuda"):
            before, _ = torch.cuda.mem_get_info()
            torch.cuda.empty_cache()
            after, _ = torch.cuda.mem_get_info()
        request = msgspec.structs.replace(ENGLISH, word_timestamps=WordTimestamps.REQUIRED)
        (outcome,) = _decode(self._engine, [self._make_row(0, self._clips[0], request)])
        words = [
            (word.start_s, word.end_s, word.text)
            for segment in (outcome.segments if isinstance(outcome, WindowTranscript) else ())
            for word in segment.words or ()
        ]
        error = outcome.message if isinstance(outcome, RowFailure) else ""
        return messages.WordsFound(words, error, before, after)

    def _decode_texts(self, rows: int, batches: list[int]) -> messages.Texts:
        texts: list[str] = []
        for first in range(0, len(self._clips), rows):
            clips = self._clips[first : first + rows]
            outcomes = _decode(self._engine, [self._make_row(0, clip, FREE) for clip in clips])
            texts += map(_read_text, outcomes)
        return messages.Texts(texts, batches, self._engine.batch_windows)

    def _make_row(self, number: int, samples: Samples, request: TranscriptionRequest) -> Row:
        spans = (Span(0, len(samples)),)
        return Row(Window(number, spans, samples, len(samples)), request, Listener())

    def _fill_window(self) -> Samples:
        """Return speech of the length of a window."""
        length = round(self._settings.window_s * SAMPLE_RATE_HZ)
        return np.resize(np.concatenate(self._clips), length)

    @contextmanager
    def _drop_masks(self) -> Iterator[None]:
        layers = self._engine._model._thinker.audio_tower.layers
        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(dropped(layer._forward_pre_hooks, encoder._add_block_mask))
            yield

    @contextmanager
    def _stop_at(self, phase: messages.Phase, listener: Listener) -> Iterator[None]:
        """Let the listener request a stop when the phase begins."""
        thinker = self._engine._model._thinker
        match phase:
            case messages.Phase.PREPARING:
                with replaced(PromptProcessor, "extract_features", call_before(listener.stop)):
                    yield
                return
            case messages.Phase.ENCODER:
                layer = thinker.audio_tower.layers[0]
            case _:
                layer = thinker.model.layers[0]
        is_hooked = phase is not messages.Phase.DECODING
        hook = layer.register_forward_pre_hook(lambda *_: listener.stop() if is_hooked else None)
        try:
            yield
        finally:
            hook.remove()


def _decode(engine: Qwen3Engine, rows: Sequence[Row]) -> list[RowOutcome]:
    """Return the outcomes in the order of `rows`."""
    outcomes = {id(row): outcome for row, outcome in engine.decode_rows(rows)}
    return [outcomes[id(row)] for row in rows]


def _read_text(outcome: RowOutcome) -> str:
    if isinstance(outcome, WindowTranscript):
        return " ".join(segment.text for segment in outcome.segments)
    return f"<{outcome}>"
