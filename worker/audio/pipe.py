"""The pipe that a job's audio comes out of, read so that a stop is heard while nothing comes."""

import os
import select
from collections.abc import Callable
from types import TracebackType
from typing import Self

from worker.engines.protocol import DecodingStopped

POLL_S = 0.05
"""How long a stop may go unheard while a decoder writes nothing."""


class AudioPipe:
    """The reading end `descriptor`, which is closed at the end of the `with` block: the decoder then ends.

    A decoder may need long for its next sample: for one late in the upload it decodes all that comes before.
    """

    def __init__(self, descriptor: int, is_stopped: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._is_stopped = is_stopped
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, size: int) -> bytes:
        """At most `size` bytes, as soon as there are any; none at the end.

        Raises:
            DecodingStopped: `is_stopped` became true while there was nothing to read.
        """
        while not self._poll.poll(POLL_S * 1000):
            if self._is_stopped():
                raise DecodingStopped
        return os.read(self._descriptor, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
