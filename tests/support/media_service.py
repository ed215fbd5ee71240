"""A media service that runs for the length of a `with` block."""

from types import TracebackType
from typing import Self

from shared.media.client import MediaService


class RunningMediaService(MediaService):
    """A media service that the `with` statement starts and stops."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
