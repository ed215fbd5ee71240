"""A listener of engines whose partials are final as they come: those without a tail."""


class Listener:
    """Notes the partials, and says stop after as many as it is told."""

    def __init__(self, *, patience: int = 1_000) -> None:
        self.texts: dict[int, str] = {}
        self._patience = patience

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Note the text of a window."""
        assert tail == ""
        self.texts[window] = self.texts.get(window, "") + delta
        self._patience -= 1

    def is_stopped(self) -> bool:
        """Whether it has heard enough."""
        return self._patience <= 0
