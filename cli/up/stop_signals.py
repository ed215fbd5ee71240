"""The signals that stop the local server: the first asks it to, the second insists."""

import asyncio
import signal
from collections.abc import Callable

# `make` passes on a SIGTERM that its whole group has got already, and a closing terminal sends SIGHUP twice:
# such an echo of the first signal is no second wish.
ECHO_S = 1.0


class StopAsked(Exception):
    """Raised by `StopSignals.wait` when the first signal comes."""


class StopSignals:
    """Listens for SIGINT, SIGTERM and SIGHUP from when it is made, inside a running event loop."""

    def __init__(self, *, on_insist: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._asked_at_s = 0.0
        self._on_insist = on_insist
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Who starts the server under nohup wants it to outlive the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._on_signal)

    async def wait(self) -> None:
        """Wait for the first signal.

        Raises:
            StopAsked: it has come.
        """
        await self._asked.wait()
        raise StopAsked

    def _on_signal(self) -> None:
        if not self._asked.is_set():
            self._asked_at_s = self._loop.time()
            self._asked.set()
        elif self._loop.time() - self._asked_at_s >= ECHO_S:
            self._on_insist()
