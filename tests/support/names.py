"""A stand-in for the name servers of two domains: one leads to this machine, the other is silent."""

import socket
import threading
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.server import wait_for

LOCAL_DOMAIN = "many.example"
SILENT_DOMAIN = "slow.example"


class StandInNames:
    """Within its `with` block, names in LOCAL_DOMAIN are 127.0.0.1, and look-ups in SILENT_DOMAIN hang."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The names in SILENT_DOMAIN that were looked up."""
        self._released = threading.Event()
        self._patch = pytest.MonkeyPatch()
        self._look_up = socket.getaddrinfo

    def __enter__(self) -> Self:
        """Begin to stand in."""
        self._patch.setattr(socket, "getaddrinfo", self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the look-ups fail that hang."""
        self._patch.undo()
        self.release()

    def release(self) -> None:
        """Let all look-ups fail that hang or come later."""
        self._released.set()

    def wait_for(self, count: int) -> None:
        """Wait until so many look-ups hang."""
        wait_for(lambda: len(self.asked) >= count, what=f"{count} look-ups")

    def _ask(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(LOCAL_DOMAIN):
            return self._look_up("127.0.0.1", *args, **kwargs)
        if not str(host).endswith(SILENT_DOMAIN):
            return self._look_up(host, *args, **kwargs)
        self.asked.append(str(host))
        self._released.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "the servers of the domain are silent")
