"""Rendering outside the event loop, because a long transcript takes seconds."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shared.jobs import Job

LONG_CHARACTERS = 1_000
"""Threads render longer texts; shorter ones take the event loop some milliseconds."""

# More threads would only slow down the event loop, with which they share the interpreter. Two let a short
# transcript pass one of a whole day.
_AT_ONCE = 2

_Rendered = TypeVar("_Rendered")


class RenderingThreads:
    """Threads that render jobs for all routes of one process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rendering")

    async def render(self, job: Job, render: Callable[[Job], _Rendered]) -> _Rendered:
        """Return `render(job)`, computed by a thread if the transcript is long.

        Errors of `render` pass through. A call that is cancelled before a thread is free is dropped.
        """
        if not _is_long(job):
            return render(job)
        return await asyncio.get_running_loop().run_in_executor(self._threads, render, job)


def _is_long(job: Job) -> bool:
    return sum(len(segment.text) for segment in job.segments) > LONG_CHARACTERS
