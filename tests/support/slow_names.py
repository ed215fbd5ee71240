"""Host names whose look-up hangs, as if the name servers of their domain were silent."""

import socket
import threading
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.server import wait_for

DOMAIN = "slow.example"


class SlowNames:
    """Within its `with` block, looking up names of `slow.example` hangs."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._released = threading.Event()
        self._patch = pytest.MonkeyPatch()
        self._look_up = socket.getaddrinfo

    def __enter__(self) -> Self:
        """Begin to hang."""
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
        if not str(host).endswith(DOMAIN):
            return self._look_up(host, *args, **kwargs)
        self.asked.append(str(host))
        self._released.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "the servers of the domain are silent")
