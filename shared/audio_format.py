"""The format of sound within the server, and the places at which reading an upload can begin."""

import msgspec

SAMPLE_RATE_HZ = 16_000
"""Samples per second. Every number of samples in jobs, windows and pipes is at this rate."""


class SeekPoint(msgspec.Struct, frozen=True, array_like=True):
    """A place at which a decoder can enter an upload. From `sample` on, its samples are right.

    The decoder goes to `entry_byte`, or to the time `entry_ticks` where the container has an index of times.
    It only warms up until the packet at `anchor_byte`, and counts samples from there. Before the anchor, the
    resampler was given `given` samples at the upload's rate. `began_at` samples (16 kHz) were written before
    this resampler began.
    """

    sample: int
    entry_byte: int
    entry_ticks: int | None
    anchor_byte: int
    anchor_ticks: int | None
    given: int
    began_at: int


class AudioStart(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first sample that a job reads, somewhat before the one at which it resumes.

    The `seek_point` is at this sample or before it; without one, the upload is decoded from its start. The
    speech detector goes on with its `detector_state` at this sample; without one, it begins anew. The job
    resumes within speech if no pause was left to end a window in.
    """

    sample: int = 0
    seek_point: SeekPoint | None = None
    detector_state: bytes = b""
    resumes_in_speech: bool = False


FROM_THE_START = AudioStart()
