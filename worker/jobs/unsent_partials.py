"""Partials of open windows that came sooner than they may be sent, joined, and which of them goes next."""

import msgspec

from worker.model.messages import PartialDecoded


class UnsentPartials:
    """Keeps one partial for each window; text that stays goes in the order of the windows.

    To go on in one window is to say that those before it are complete. Tails claim nothing, so that they may
    overtake: every second turn is theirs, and among them that of the one which has waited longest.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, PartialDecoded] = {}  # in the order in which they began to wait
        self._is_turn_of_tails = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, partial: PartialDecoded) -> None:
        """Join `partial` to what is kept of its window, with its own tail and language: they are newer."""
        known = self._waiting.get(partial.window)
        delta = (known.delta if known else "") + partial.delta
        self._waiting[partial.window] = msgspec.structs.replace(partial, delta=delta)

    def take_next(self) -> PartialDecoded | None:
        """The partial to send now, which is kept no longer; None where there is none."""
        if not self._waiting:
            return None
        window = first = min(self._waiting)
        if self._is_turn_of_tails:
            window = next((index for index in self._waiting if self._is_tail_behind(first, index)), first)
        self._is_turn_of_tails = not self._is_turn_of_tails
        return self._waiting.pop(window)

    def forget(self) -> None:
        """Never send what was kept, since its windows are finished."""
        self._waiting.clear()

    def _is_tail_behind(self, first: int, window: int) -> bool:
        return window > first and not self._waiting[window].delta
