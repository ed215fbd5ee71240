"""A listener of engines whose partials are final as they come: those without a tail."""


class Listener:
    """A listener that collects texts, and asks for a stop after `max_partials`."""

    def __init__(self, *, max_partials: int = 1_000) -> None:
        self.texts: dict[int, str] = {}
        self._partials_left = max_partials

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Append to the text of a window."""
        assert tail == ""
        self.texts[window] = self.texts.get(window, "") + delta
        self._partials_left -= 1

    def is_stopped(self) -> bool:
        """Return whether all partials that it allows have come."""
        return self._partials_left <= 0
