"""Partials of open windows on their way to the log, which takes each once, in order and without a hole."""

from shared.events import Partial


class UntoldPartials:
    """Keeps what Redis did not take, for as long as its windows are open.

    Of the partial that was tried last nobody knows whether it is in the log. It is tried again as it was and
    with the same count before it, so that the log knows it; what came after it is joined, window by window.
    """

    def __init__(self) -> None:
        self._told = 0
        self._tried: Partial | None = None
        self._waiting: dict[int, Partial] = {}

    @property
    def told(self) -> int:
        """How many partials of the open windows are in the log for certain."""
        return self._told

    def add(self, partial: Partial) -> None:
        """Join `partial` to what is kept of its window, with its own tail and language: they are newer."""
        known = self._waiting.get(partial.window)
        delta = (known.delta if known else "") + partial.delta
        self._waiting[partial.window] = Partial(partial.window, delta, partial.tail, partial.language)

    def take_next(self) -> Partial | None:
        """The partial to tell now, which stays the next one until `note_told`; None where all is told."""
        if self._tried is None and self._waiting:
            # In the order of the windows: to go on in one is to say that those before it are complete.
            self._tried = self._waiting.pop(min(self._waiting))
        return self._tried

    def note_told(self) -> None:
        """The partial that was taken is in the log."""
        self._told += 1
        self._tried = None

    def forget(self) -> None:
        """The windows are finished, and the log has given up their partials."""
        self._told = 0
        self._tried = None
        self._waiting.clear()
