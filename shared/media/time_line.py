"""The time line of an upload: its zero, the moments of its sound, and the holes between them.

Damaged files have times that lie. A time ahead of the sound so far is believed only if the next one follows
it. The hole is at most an hour long, and within the length that a Matroska file declares.
"""

import math

import msgspec
from av.audio.stream import AudioStream
from av.container import InputContainer

LONGEST_HOLE_S = 3_600.0
"""The longest stretch without sound that is believed."""

# Times are rounded, and sound from a network jitters. Such steps add up until they are as long as this.
_SHORTEST_HOLE_S = 0.05
_MATROSKA = "matroska,webm"
_MOV = "mov,mp4,m4a,3gp,3g2,mj2"
# Containers whose times say where sound is missing. The times of the others count their samples or bytes.
_TIMED = frozenset({_MATROSKA, _MOV, "amr", "asf", "flv", "mpeg", "mpegts", "ogg"})
_MICROSECONDS = 1_000_000


class TimeLine(msgspec.Struct, frozen=True):
    """The times of a container in seconds: the one at which its file begins, and the last believed one."""

    zero_s: float
    end_s: float

    def locate(self, time_s: float | None) -> float | None:
        """Return the seconds from the start of the file to a time of the container, if that is believed."""
        return None if time_s is None or time_s > self.end_s else time_s - self.zero_s


def read_time_line(container: InputContainer, track: AudioStream) -> TimeLine:
    """Return the time line of an open container.

    A Matroska file with a duration, and an MP4 file that is not a piece of a stream, begin at zero: the time
    before their first packet belongs to them. Others begin with their first packet of any track.
    """
    first_s = (container.start_time or 0) / _MICROSECONDS
    declared_s = (container.duration or 0) / _MICROSECONDS
    match container.format.name:
        case name if name not in _TIMED:
            return TimeLine(first_s, -math.inf)
        case name if name == _MATROSKA and declared_s > first_s:
            return TimeLine(0.0, declared_s)
        case name if name == _MOV and track.frames and first_s < LONGEST_HOLE_S:
            return TimeLine(0.0, math.inf)
    return TimeLine(first_s, math.inf)


def find_hole_s(begin_s: float | None, following_s: float | None, position_s: float) -> float:
    """Return the length of the hole between `position_s`, the end of the sound so far, and `begin_s`.

    `following_s` is the time of the sound after it. All are seconds from the start of the file.
    """
    if begin_s is None or following_s is None or following_s < begin_s:
        return 0.0
    hole_s = begin_s - position_s
    return hole_s if _SHORTEST_HOLE_S < hole_s <= LONGEST_HOLE_S else 0.0
