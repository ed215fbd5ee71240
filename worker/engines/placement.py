"""Where in the upload an interval of a window lies."""

from collections.abc import Iterator

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.protocol import Window

# An interval that reaches no further into a span of the window only touches the silence at its edge.
_TOUCH_S = 0.4


def place_interval(window: Window, start_s: float, end_s: float) -> tuple[float, float]:
    """The interval `start_s`..`end_s` of `window` as (start, end) in seconds of the upload.

    The times that engines give are rough. Where an interval only touches a span, it is cut at the seam:
    else it would last through all the silence that the window leaves out there.
    """
    shares = list(_share_out(window, start_s * SAMPLE_RATE_HZ, end_s * SAMPLE_RATE_HZ))
    if not shares:
        moment = window.to_upload_s(start_s)
        return moment, moment
    longest = max(shares, key=_length_s)
    held = [share for share in shares if share is longest or _length_s(share) > _TOUCH_S]
    return held[0][0], held[-1][1]


def _share_out(window: Window, start: float, end: float) -> Iterator[tuple[float, float]]:
    """What each span holds of the window's samples `start`..`end`, in seconds of the upload."""
    seam = 0
    for span in window.spans:
        first, last = max(start, seam), min(end, seam + span.length)
        if first < last:
            offset = span.start - seam
            yield (first + offset) / SAMPLE_RATE_HZ, (last + offset) / SAMPLE_RATE_HZ
        seam += span.length


def _length_s(share: tuple[float, float]) -> float:
    return share[1] - share[0]
