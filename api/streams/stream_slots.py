"""How many event streams are open in this process, by all endpoints, and how many may be."""

from collections import Counter

from starlette.types import Scope

from api.access.api_keys import ANYBODY
from api.access.authorization import find_api_key
from api.errors.tree import TooManyStreams

_HOLDER = "stream_slot"


class StreamSlots:
    """Gives each stream a slot, which its request holds until it ends, however it does.

    An API key may hold `max_per_key` of the `max_streams`; where no key is asked for, only those count.
    """

    def __init__(self, *, max_streams: int, max_per_key: int) -> None:
        self._max_streams = max_streams
        self._max_per_key = max_per_key
        self._open: Counter[str] = Counter()

    def take(self, scope: Scope) -> None:
        """Take a slot for the request in `scope`.

        Raises:
            TooManyStreams: there is none left, in all or for its API key.
        """
        key = find_api_key(scope)
        if self._open.total() >= self._max_streams:
            raise TooManyStreams(self._max_streams, "MAX_STREAMS")
        if key is not ANYBODY and self._open[key.name] >= self._max_per_key:
            raise TooManyStreams(self._max_per_key, "MAX_STREAMS_PER_KEY")
        self._open[key.name] += 1
        scope["state"][_HOLDER] = key.name

    def free(self, scope: Scope) -> None:
        """Give back what the request in `scope` holds, if anything."""
        key_name = scope["state"].pop(_HOLDER, None)
        if key_name is None:
            return
        self._open[key_name] -= 1
        if not self._open[key_name]:
            del self._open[key_name]
