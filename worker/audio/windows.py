"""The cutting of a stream of samples into windows, the slices that an engine decodes at once."""

from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np

from shared.jobs import Checkpoint
from worker.audio.vad import SileroStream
from worker.audio.window_plan import FROM_THE_START, WindowConfig, WindowPlan, WindowPlanner, to_samples
from worker.engines.protocol import Samples, Span, Window

# Audio is taken, and silence dropped, in pieces of a quarter of a second.
_PIECE_SAMPLES = 4_096


def cut_windows(
    blocks: Iterable[Samples],
    detector: SileroStream,
    *,
    config: WindowConfig,
    checkpoint: Checkpoint = FROM_THE_START,
) -> Iterator[Window]:
    """Cut the speech in `blocks` into windows, and yield each as soon as later audio cannot change it.

    `blocks` are float32 in -1..1 at 16 kHz, shape (n,) of any length. They begin at the `audio_start` of
    `checkpoint`, and windows at its `resume_sample`. Memory holds about one window, without its silence.
    """
    planner = WindowPlanner(config, checkpoint)
    buffer = _SampleBuffer(checkpoint.audio_start.sample)
    indices = count(checkpoint.windows)
    for piece in _regroup(blocks):
        buffer.append(piece)
        for plan in planner.add(detector.detect(piece)):
            yield buffer.take_window(plan, next(indices))
        buffer.drop(planner.spare)
    for plan in planner.finish(detector.finish(), end_sample=buffer.end_sample):
        yield buffer.take_window(plan, next(indices), is_last=plan.end_sample == buffer.end_sample)


def cut_fixed_windows(
    blocks: Iterable[Samples], window_s: float, *, checkpoint: Checkpoint = FROM_THE_START
) -> Iterator[Window]:
    """Cut `blocks` into consecutive windows of `window_s` seconds. The last one may be shorter.

    `blocks` and `checkpoint` are as in `cut_windows`.
    """
    buffer = _SampleBuffer(checkpoint.audio_start.sample)
    indices = count(checkpoint.windows)
    start, length = checkpoint.resume_sample, to_samples(window_s)
    for piece in _regroup(blocks):
        buffer.append(piece)
        while buffer.end_sample - start >= length:
            yield buffer.take_window(_plan_whole(start, start + length), next(indices))
            start += length
    if buffer.end_sample > start:
        yield buffer.take_window(_plan_whole(start, buffer.end_sample), next(indices), is_last=True)


class _SampleBuffer:
    """The samples that a window may still need, in pieces with their place in the upload."""

    def __init__(self, start_sample: int) -> None:
        self.end_sample = start_sample
        self._pieces: list[tuple[Span, Samples]] = []

    def append(self, piece: Samples) -> None:
        """Append the next samples of the upload."""
        span = Span(self.end_sample, self.end_sample + len(piece))
        self._pieces.append((span, piece))
        self.end_sample = span.end

    def take_window(self, plan: WindowPlan, index: int, *, is_last: bool = False) -> Window:
        """Return the window of `plan`, and drop the samples before its end."""
        samples = np.concatenate([part for span in plan.spans for part in self._read(span)])
        self.drop(Span(0, plan.end_sample))
        return Window(
            index=index,
            spans=plan.spans,
            samples=samples,
            end_sample=plan.end_sample,
            pauses=tuple(_count_before(pause, plan.spans) for pause in plan.pauses),
            ends_in_speech=plan.ends_in_speech,
            is_last=is_last,
        )

    def drop(self, spare: Span) -> None:
        """Drop the pieces that lie within `spare`."""
        self._pieces = [
            (span, piece) for span, piece in self._pieces if span.start < spare.start or span.end > spare.end
        ]

    def _read(self, wanted: Span) -> Iterator[Samples]:
        for span, piece in self._pieces:
            if span.start < wanted.end and wanted.start < span.end:
                yield piece[max(0, wanted.start - span.start) : wanted.end - span.start]


def _count_before(moment: int, spans: Iterable[Span]) -> int:
    """Return the number of samples of `spans` before a moment of the upload."""
    return sum(min(max(0, moment - span.start), span.length) for span in spans)


def _plan_whole(start: int, end: int) -> WindowPlan:
    return WindowPlan((Span(start, end),), end)


def _regroup(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Yield the samples of `blocks` in pieces of one size. The last one may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        pending = np.concatenate((rest, block))
        whole = len(pending) - len(pending) % _PIECE_SAMPLES
        for start in range(0, whole, _PIECE_SAMPLES):
            yield pending[start : start + _PIECE_SAMPLES].copy()  # a view would keep the whole block
        rest = pending[whole:].copy()
    if len(rest):
        yield rest
