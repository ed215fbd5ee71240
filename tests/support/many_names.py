"""Many hosts on this machine: any name under one domain leads to it."""

import socket
from types import TracebackType
from typing import Any, Self

import pytest

DOMAIN = "many.example"


class ManyNames:
    """Within its `with` block, names under `many.example` lead to 127.0.0.1."""

    def __init__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._look_up = socket.getaddrinfo

    def __enter__(self) -> Self:
        """Begin to answer for them."""
        self._patch.setattr(socket, "getaddrinfo", self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()

    def _ask(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        return self._look_up("127.0.0.1" if str(host).endswith(DOMAIN) else host, *args, **kwargs)
