"""Streams whose client left: their jobs are cancelled unless somebody follows them in time."""

import asyncio

from api.streams.event_hub import EventHub
from api.streams.waiting import JobWaiting

_LOOKS = 10
"""How often one looks for a listener in the time that is left to a stream."""


class AbandonedStreams:
    """Watches each abandoned stream on a task of its own."""

    def __init__(self, hub: EventHub, waiting: JobWaiting, *, resume_s: float) -> None:
        self._hub = hub
        self._waiting = waiting
        self._resume_s = resume_s
        self._watches: set[asyncio.Task[None]] = set()

    def watch(self, job_id: str) -> None:
        """Cancel the job as soon as nobody in this process has listened to it for `resume_s`."""
        watch = asyncio.create_task(self._cancel_when_silent(job_id), name=f"abandoned-{job_id}")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _cancel_when_silent(self, job_id: str) -> None:
        silent_looks = 0
        while silent_looks < _LOOKS:
            await asyncio.sleep(self._resume_s / _LOOKS)
            silent_looks = 0 if self._hub.has_listeners(job_id) else silent_looks + 1
        # A job that is final by now is left as it is.
        await self._waiting.cancel_job(job_id)
