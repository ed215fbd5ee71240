"""The limits on open event streams in this process, of all endpoints together."""

from collections import Counter

from api.access.api_keys import ANYBODY
from api.access.request_state import RequestState
from api.errors.tree import TooManyStreams


class StreamSlots:
    """The slots of event streams. A request holds its slot to its end.

    An API key may hold `max_per_key` of the `max_streams`. Without API keys only `max_streams` counts.
    """

    def __init__(self, *, max_streams: int, max_per_key: int) -> None:
        self._max_streams = max_streams
        self._max_per_key = max_per_key
        self._open: Counter[str] = Counter()

    def take(self, state: RequestState) -> None:
        """Take a slot for a request, unless it holds one.

        Call this as soon as the form shows that the request wants a stream, before its upload has arrived.

        Raises:
            TooManyStreams: no slot is left, in all or for the API key of the request.
        """
        if state.slot_holder is not None:
            return
        key = state.api_key
        if self._open.total() >= self._max_streams:
            raise TooManyStreams(self._max_streams, "MAX_STREAMS")
        if key is not ANYBODY and self._open[key.name] >= self._max_per_key:
            raise TooManyStreams(self._max_per_key, "MAX_STREAMS_PER_KEY")
        self._open[key.name] += 1
        state.slot_holder = key.name

    def free(self, state: RequestState) -> None:
        """Give back the slot of a request that has ended, if it holds one."""
        holder, state.slot_holder = state.slot_holder, None
        if holder is None:
            return
        self._open[holder] -= 1
        if not self._open[holder]:
            del self._open[holder]
