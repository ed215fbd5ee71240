"""How much may be under way at once, in all and for each of several names: who finds no place can wait."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping


class Places:
    """Places under names; what is under way holds one under each of its names. For one event loop."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._freed = asyncio.Event()

    def find_full(self, limits: Mapping[str, int]) -> str | None:
        """The first of these names under which as many places are taken as it may have, if there is one."""
        return next((name for name, limit in limits.items() if self._taken[name] >= limit), None)

    def take(self, names: Iterable[str]) -> None:
        """Take a place under each of these names, whether it is full or not."""
        self._taken.update(list(names))  # of a mapping, its values would be added

    def free(self, names: Iterable[str]) -> None:
        """Give a place under each of these names back, and wake all who wait."""
        self._taken -= Counter(list(names))  # forgets names that hold nothing
        self._freed.set()
        self._freed = asyncio.Event()

    async def wait_for_change(self) -> None:
        """Return when places were given back; they may be gone by then."""
        await self._freed.wait()
