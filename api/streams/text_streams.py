"""The text of a job while it is transcribed, as the two streams of `/v1/audio/transcriptions` send it.

Clients of OpenAI fail on ids, names, `retry` and unknown event types. Their stream has none of these.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import assert_never

from sse_starlette import ServerSentEvent

from api.errors.tree import StreamInterrupted
from api.formats.rendering import render_answer, transcript_of
from api.formats.rendering_threads import RenderingThreads
from api.schemas.openai import InputTokens, TextDelta, TextDone, TokenUsage
from api.streams.following import JobFollower
from api.streams.partial_text import PartialText
from api.streams.sse import describe_event, encode_frame
from api.streams.waiting import JobWaiting
from shared.events import (
    AnyEvent,
    Cancelled,
    Failed,
    Loading,
    Partial,
    Progress,
    Queued,
    Requeued,
    SegmentDone,
    Started,
    Succeeded,
)
from shared.jobs import Job, NewJob
from shared.record.readings import LOG_START, LoggedEvent
from shared.transcripts import TokenCounts


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
        match event := logged.event:
            case Queued() | Started() | Loading() | Progress() | Requeued():
                yield encode_frame(describe_event(event), name=event.type)
            case Partial() | SegmentDone() | Succeeded() | Failed() | Cancelled():
                pass  # the stream's own events carry the text and the end
            case _:
                assert_never(event)


def _encode_final(job: Job) -> ServerSentEvent:
    return encode_frame(render_answer(job).model_dump(exclude_unset=True) | {"is_final": True})


_END = "[DONE]"


class AppendOnlyText:
    """The text that a stream has sent. It only grows.

    After a crash an open window is decoded again. The stream goes on if the new text begins with that text.
    """

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._partial = PartialText(None)
        self._sent = ""

    def take(self, events: Iterable[AnyEvent]) -> str:
        """Return the text that the next events of the log add, often none.

        Raises:
            StreamInterrupted: the events contradict the text that was sent.
        """
        self._partial.take(events)
        settled = self._partial.settled_text
        return "" if self._sent.startswith(settled) else self.extend_to(settled)

    def extend_to(self, text: str) -> str:
        """Return what `text` adds to the text that was sent.

        Raises:
            StreamInterrupted: it contradicts that text.
        """
        if not text.startswith(self._sent):
            raise StreamInterrupted(self._job_id)
        added = text[len(self._sent) :]
        self._sent = text
        return added


async def stream_deltas(
    follower: JobFollower, waiting: JobWaiting, rendering: RenderingThreads, job_id: str
) -> AsyncGenerator[ServerSentEvent]:
    """Yield the frames of a job: deltas of its text, then the whole text, which is all deltas joined.

    Raises:
        StreamInterrupted: the job was begun again, and its text differs now. The job goes on.
        ServerError: see `JobWaiting.read_success`.
    """
    growing = AppendOnlyText(job_id)
    async with aclosing(follower.follow_pages(job_id, after_id=LOG_START)) as pages:
        async for page in pages:
            try:
                delta = growing.take(logged.event for logged in page)
            except StreamInterrupted:
                await waiting.keep(job_id)
                raise
            for frame in encode_delta(delta):
                yield frame
    job = await waiting.read_success(job_id)
    for frame in await rendering.render(job, lambda job: _encode_rest(job, growing)):
        yield frame


def _encode_rest(job: Job, growing: AppendOnlyText) -> list[ServerSentEvent]:
    text = transcript_of(job).text
    return [*encode_delta(growing.extend_to(text)), *encode_end(text, job.token_counts)]


def encode_delta(delta: str) -> Iterator[ServerSentEvent]:
    """Yield the frame of a delta, if it has text."""
    if delta:
        yield encode_frame(TextDelta(type="transcript.text.delta", delta=delta).model_dump())


def encode_end(text: str, counts: TokenCounts | None) -> Iterator[ServerSentEvent]:
    """Yield the last two frames. The first has the token usage, if the tokens were counted."""
    done = TextDone(type="transcript.text.done", text=text, usage=counts and _render_tokens(counts))
    yield encode_frame(done.model_dump(exclude_none=True))
    yield ServerSentEvent(_END, sep="\n")


def _render_tokens(counts: TokenCounts) -> TokenUsage:
    inputs = counts.text_input + counts.audio_input
    return TokenUsage(
        type="tokens",
        input_tokens=inputs,
        output_tokens=counts.output,
        total_tokens=inputs + counts.output,
        input_token_details=InputTokens(text_tokens=counts.text_input, audio_tokens=counts.audio_input),
    )
