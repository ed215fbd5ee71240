"""What the model process says while it loads: the first model, or another that a job needs on the way."""

import time
from collections.abc import Callable

from worker.engines.protocol import LOADED
from worker.model import messages


class LoadReporter:
    """Tells the host which phase of loading begins, and how long after the loading itself did.

    The first loading begins with the reporter, others with their first phase. It is a `PhaseReporter`.
    """

    def __init__(
        self, send: Callable[[messages.Report], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._clock = clock
        self._began_at: float | None = clock()
        self._device = ""

    def __call__(self, phase: str, /) -> None:
        """Tell of a phase that begins, or that what was loaded on the way is there."""
        if phase == LOADED:
            self.end(self._device)
        else:
            self._send(messages.Loading(phase, self._count_s()))

    def end(self, device: str) -> None:
        """Tell that the model is in memory on `device`."""
        self._device = device
        self._send(messages.Loaded(device, self._count_s()))
        self._began_at = None

    def forget(self) -> None:
        """The loading, if there was one, has failed: what follows is another."""
        self._began_at = None

    def _count_s(self) -> float:
        now = self._clock()
        if self._began_at is None:
            self._began_at = now
        return round(now - self._began_at, 3)
