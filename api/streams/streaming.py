"""The transcript stream of `/v1/audio/transcriptions/stream`: the text so far in each event."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from sse_starlette import ServerSentEvent

from api.formats.rendering import render_answer
from api.formats.rendering_threads import RenderingThreads
from api.streams.following import JobFollower
from api.streams.partial_text import PartialText
from api.streams.sse import describe_event, encode_frame
from api.streams.waiting import JobWaiting
from shared.events import Loading, Progress, Queued, Requeued, Started
from shared.jobs import Job, NewJob
from shared.record.readings import LOG_START, LoggedEvent


async def stream_transcript(
    follower: JobFollower, waiting: JobWaiting, rendering: RenderingThreads, job: NewJob
) -> AsyncGenerator[ServerSentEvent]:
    """Yield unnamed events with the text (`text`, `language`, `is_final`; then `done`), and named events.

    Each has the whole text so far, without the open window of a job that was queued again. No event has an
    id: after a disconnect, clients follow the events of the job instead.

    Raises:
        ServerError: see `JobWaiting.read_success`.
    """
    yield encode_frame({"id": job.job_id}, name="job")
    partial = PartialText(job.request.language_hint)
    shown = ""
    async with aclosing(follower.follow_pages(job.job_id, after_id=LOG_START)) as pages:
        async for page in pages:
            for frame in _encode_named(page):
                yield frame
            partial.take(logged.event for logged in page)
            if partial.text != shown:
                shown = partial.text
                yield encode_frame({"text": shown, "language": partial.language, "is_final": False})
    yield await rendering.render(await waiting.read_success(job.job_id), _encode_final)
    yield encode_frame({"done": True})


def _encode_named(page: tuple[LoggedEvent, ...]) -> Iterator[ServerSentEvent]:
    for logged in page:
        if isinstance(logged.event, Queued | Started | Loading | Progress | Requeued):
            yield encode_frame(describe_event(logged.event), name=logged.event.type)


def _encode_final(job: Job) -> ServerSentEvent:
    return encode_frame(render_answer(job).model_dump(exclude_unset=True) | {"is_final": True})
