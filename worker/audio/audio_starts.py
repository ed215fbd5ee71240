"""The places from which a later claim of a job could read, one of which goes into each checkpoint."""

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ, AudioStart, SeekPoint
from worker.audio.vad import SileroStream
from worker.engines.protocol import Samples, Window

# Whether a hum is speech depends on the sound before it, up to the last pause.
_LEAD_SAMPLES = SAMPLE_RATE_HZ


class AudioStarts:
    """The seek points of a run that began at `first`, and the states of its speech detector if it has one."""

    def __init__(self, first: AudioStart, detector: SileroStream | None) -> None:
        self._detector = detector
        self._points = deque([first.seek_point] if first.seek_point else [])

    def collect(self, sound: Iterable[Samples | SeekPoint]) -> Iterator[Samples]:
        """Yield the samples in `sound`, and keep its seek points."""
        for found in sound:
            if isinstance(found, SeekPoint):
                self._points.append(found)
            else:
                yield found

    def choose(self, done: Window) -> AudioStart:
        """Return where to read for the windows after `done`. Call it in their order."""
        start = AudioStart(done.end_sample)
        if self._detector is not None:
            start = self._detector.take_state(done.end_sample - _LEAD_SAMPLES)
        while len(self._points) > 1 and self._points[1].sample <= start.sample:
            self._points.popleft()
        is_useful = bool(self._points) and self._points[0].sample <= start.sample
        return msgspec.structs.replace(
            start,
            seek_point=self._points[0] if is_useful else None,
            resumes_in_speech=done.ends_in_speech,
        )
