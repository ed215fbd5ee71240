"""The plan of windows: the spans of an upload that go into each, decided by speech probabilities alone.

Silence is left out, because a model invents text for it. Speech regions are packed together, because each
window costs a full pass of the engine.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import Checkpoint
from worker.audio.vad import CHUNK_SAMPLES
from worker.engines.protocol import Span

# A window ends in its last third: at the longest pause, or at the quietest moment if there is none. Levels
# are smoothed over about 0.2 s.
_END_FROM = 2 / 3
_SMOOTHED_CHUNKS = 7

FROM_THE_START = Checkpoint()


class WindowConfig(msgspec.Struct, frozen=True):
    """The rules for packing speech into windows.

    `edge_silence_s` is the silence kept at each edge of a speech region. Pauses of at least `min_pause_s`
    separate regions. Sounds shorter than `min_speech_s` are ignored. Speech begins at a probability of
    `speech_threshold`, and ends below `silence_threshold`.
    """

    window_s: float = 30.0
    edge_silence_s: float = 0.4
    min_pause_s: float = 0.5
    min_speech_s: float = 0.1
    speech_threshold: float = 0.5
    silence_threshold: float = 0.35


class WindowPlan(msgspec.Struct, frozen=True):
    """A settled window: its spans, and the sample of the upload where the next one may begin.

    `pauses` are samples of the upload, each in the middle between two speech regions of the window. A window
    that `ends_in_speech` had no pause late enough.
    """

    spans: tuple[Span, ...]
    end_sample: int
    pauses: tuple[int, ...] = ()
    ends_in_speech: bool = False


class WindowPlanner:
    """Packs whole speech regions into windows, by one probability per 512 samples of the upload.

    The probabilities begin at the `audio_start` of `checkpoint`. Audio before its `resume_sample` belongs to
    earlier windows.
    """

    def __init__(self, config: WindowConfig, checkpoint: Checkpoint = FROM_THE_START) -> None:
        self._config = config
        self._edge = to_samples(config.edge_silence_s)
        self._pause = to_samples(config.min_pause_s)
        self._limit = to_samples(config.window_s)
        self._now = checkpoint.audio_start.sample
        self._floor = checkpoint.resume_sample  # all audio before it belongs to earlier windows
        self._speaking = checkpoint.audio_start.resumes_in_speech
        self._regions: list[Span] = []  # the speech of the open window
        self._packed: list[Span] = []  # its spans, without silence after the last region
        self._split_at = self._floor if self._speaking else None
        # The speech that no pause has ended yet. A job that resumes within speech saw its start before.
        self._region = Span(self._floor, self._floor) if self._speaking else None
        self._levels: list[float] = []  # the probabilities since that region's start

    @property
    def spare(self) -> Span:
        """Return the silence that neither the open window nor the next region needs."""
        kept_until = self._packed[-1].end + self._edge if self._packed else 0
        kept_again = (self._region.start if self._region else self._now) - self._edge
        return Span(kept_until, max(kept_until, kept_again))

    def add(self, probabilities: Iterable[float]) -> Iterator[WindowPlan]:
        """Take the probabilities of the next 512-sample chunks, and yield the windows that they settle."""
        for probability in probabilities:
            self._take_chunk(probability)
            yield from self._settle_full_windows()

    def finish(self, probabilities: Iterable[float], *, end_sample: int) -> Iterator[WindowPlan]:
        """Take the last probabilities, up to `end_sample` of the upload, and yield the last windows."""
        if end_sample <= self._floor:  # the job resumes at the end
            return
        for probability in probabilities:
            self._take_chunk(probability)
        # The last chunk was padded with silence.
        self._now = end_sample
        if self._region:
            self._region = Span(self._region.start, min(self._region.end, end_sample))
        yield from self._settle_full_windows()
        if self._region:
            self._close_region(self._region)
        if self._packed:
            yield self._end_window(end_sample)

    def _take_chunk(self, probability: float) -> None:
        threshold = self._config.silence_threshold if self._speaking else self._config.speech_threshold
        self._speaking = probability >= threshold
        start, self._now = self._now, self._now + CHUNK_SAMPLES
        if self._now <= self._floor:
            return
        if self._speaking:
            self._region = Span(self._region.start if self._region else max(start, self._floor), self._now)
        if self._region:
            self._levels.append(probability)
            if self._now - self._region.end >= self._pause:
                self._close_region(self._region)

    def _close_region(self, region: Span) -> None:
        continues_a_split = region.start == self._split_at
        least = 1 if continues_a_split else to_samples(self._config.min_speech_s)
        if region.length >= least:
            self._add_region(region)
        self._region, self._levels = None, []

    def _add_region(self, region: Span) -> None:
        self._regions.append(region)
        self._packed = self._pack(self._packed, region)

    def _pack(self, packed: list[Span], region: Span) -> list[Span]:
        """Return the spans of a window with `region` added. A gap shorter than two edges is kept whole."""
        edge = self._edge
        if not packed:
            return [Span(max(self._floor, region.start - edge), region.end)]
        *earlier, last = packed
        if region.start - last.end <= 2 * edge:
            return [*earlier, Span(last.start, region.end)]
        return [*earlier, Span(last.start, last.end + edge), Span(region.start - edge, region.end)]

    def _settle_full_windows(self) -> Iterator[WindowPlan]:
        # Without a region, this checks whether even the shortest one that begins now would fit.
        while (self._packed or self._region) and self._is_full() and not self._may_pause_longer():
            yield self._end_in_silence() if self._packed else self._split(self._upcoming())

    def _is_full(self) -> bool:
        return _sum_lengths(self._pack(self._packed, self._upcoming())) > self._limit

    def _may_pause_longer(self) -> bool:
        """Return whether the present pause, if it lasts on, will be the longest in the last third."""
        if self._region is not None:
            return False
        return self._choose_end([*self._regions, self._upcoming()]) < len(self._regions)

    def _upcoming(self) -> Span:
        return self._region or Span(self._now, self._now)

    def _end_in_silence(self) -> WindowPlan:
        """End the window at the longest pause in its last third. The speech after it begins the next one."""
        regions = [*self._regions, self._upcoming()]
        kept = self._choose_end(regions)
        self._regions, self._packed = [], []
        for region in regions[:kept]:
            self._add_region(region)
        plan = self._end_window(_find_middle(regions[kept - 1].end, regions[kept].start))
        for region in regions[kept:-1]:
            self._add_region(region)
        return plan

    def _choose_end(self, regions: Sequence[Span]) -> int:
        """Return how many of the `regions` the window keeps, at most all but the last one."""
        packed: list[Span] = []
        pauses: list[tuple[int, int]] = []
        for kept, (region, following) in enumerate(pairwise(regions), start=1):
            packed = self._pack(packed, region)
            if _sum_lengths(packed) >= self._limit * _END_FROM:
                pauses.append((following.start - region.end, kept))
        _, kept = max(pauses, default=(0, len(regions) - 1))
        return kept

    def _split(self, region: Span) -> WindowPlan:
        """End the window within a region that is longer, at the moment with the least speech."""
        (whole,) = self._pack([], region)
        first = (whole.start + int(self._limit * _END_FROM) - region.start) // CHUNK_SAMPLES + 1
        last = (whole.start + self._limit - region.start) // CHUNK_SAMPLES
        quietest = find_quietest(self._levels, first, last)
        cut = region.start + quietest * CHUNK_SAMPLES
        self._packed = [Span(whole.start, cut)]
        self._region, self._levels = Span(cut, region.end), self._levels[quietest:]
        self._split_at = cut
        return self._end_window(cut, ends_in_speech=True)

    def _end_window(self, cut: int, *, ends_in_speech: bool = False) -> WindowPlan:
        *earlier, last = self._packed
        room = self._limit - _sum_lengths(self._packed)
        trailing = min(self._edge, room, cut - last.end)
        spans = (*earlier, Span(last.start, last.end + trailing))
        pauses = (_find_middle(before.end, after.start) for before, after in pairwise(self._regions))
        plan = WindowPlan(spans, cut, tuple(pauses), ends_in_speech)
        self._regions, self._packed, self._floor = [], [], cut
        return plan


def find_quietest(levels: Sequence[float], first: int, last: int) -> int:
    """Return the index in `first`..`last`, both inclusive, around which `levels` are lowest."""
    padded = np.pad(np.asarray(levels), _SMOOTHED_CHUNKS // 2, mode="edge")
    smooth = np.convolve(padded, np.full(_SMOOTHED_CHUNKS, 1 / _SMOOTHED_CHUNKS), mode="valid")
    return first + int(np.argmin(smooth[first : last + 1]))


def _sum_lengths(spans: Iterable[Span]) -> int:
    return sum(span.length for span in spans)


def _find_middle(before: int, after: int) -> int:
    return before + (after - before) // 2


def to_samples(seconds: float) -> int:
    """Return `seconds` in samples at 16 kHz, rounded down."""
    return int(seconds * SAMPLE_RATE_HZ)
