"""Rendering beside the event loop: a long transcript takes seconds in which nobody else would be answered."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shared.jobs import Job, JobState

LONG_CHARACTERS = 1_000
"""More text than that is rendered by a thread; less takes the event loop some milliseconds."""

# They share the interpreter, so more of them would only get in the way of the event loop more often.
_AT_ONCE = 2

_Rendered = TypeVar("_Rendered")


class RenderingThreads:
    """Renders jobs for all routes of one process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rendering")

    async def render(self, job: Job, render: Callable[[Job], _Rendered]) -> _Rendered:
        """What `render` makes of the job: at once, or by a thread where its transcript is long.

        It raises what `render` raises. Who is cancelled before a thread is free is not rendered for any more.
        """
        if not _is_long(job):
            return render(job)
        return await asyncio.get_running_loop().run_in_executor(self._threads, render, job)


def _is_long(job: Job) -> bool:
    # Other jobs have no transcript, and who polls one must not wait for the transcripts of others.
    if job.state is not JobState.SUCCEEDED:
        return False
    return sum(len(segment.text) for segment in job.segments) > LONG_CHARACTERS
