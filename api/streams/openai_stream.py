"""The stream that OpenAI's clients know: text that only grows, then all of it, then the end.

They break over ids, names, `retry` and types of events that are not theirs, so none of these is sent.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing

from sse_starlette import ServerSentEvent

from api.errors.tree import StreamInterrupted
from api.formats.rendering import transcript_of
from api.formats.rendering_threads import RenderingThreads
from api.schemas.openai import InputTokens, TextDelta, TextDone, TokenUsage
from api.streams.following import JobFollower
from api.streams.partial_text import PartialText
from api.streams.sse import encode_frame
from api.streams.waiting import JobWaiting
from shared.events import AnyEvent
from shared.jobs import Job
from shared.record.event_log import LOG_START
from shared.transcripts import TokenCounts

_END = "[DONE]"


class GrowingText:
    """The text of a job as it is given out: only ever longer, whatever its events say.

    After a crash an open window is decoded again. Its text is given out from where that of the first time
    ended, if it is the same so far.
    """

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._partial = PartialText(None)
        self._given = ""

    def take(self, events: Iterable[AnyEvent]) -> str:
        """What the next events of the log add; often nothing.

        Raises:
            StreamInterrupted: they contradict what was given out.
        """
        self._partial.take(events)
        settled = self._partial.settled_text
        return "" if self._given.startswith(settled) else self._give(settled)

    def finish(self, text: str) -> str:
        """What is left of the whole `text`.

        Raises:
            StreamInterrupted: it contradicts what was given out.
        """
        return self._give(text)

    def _give(self, text: str) -> str:
        if not text.startswith(self._given):
            raise StreamInterrupted(self._job_id)
        added = text[len(self._given) :]
        self._given = text
        return added


async def stream_deltas(
    follower: JobFollower, waiting: JobWaiting, rendering: RenderingThreads, job_id: str
) -> AsyncGenerator[ServerSentEvent]:
    """The frames of a job: deltas while the text comes, then the whole of it, which is all deltas joined.

    Raises:
        StreamInterrupted: the job was begun again and its text is another one now.
        ServerError: what `JobWaiting.read_success` raises.
    """
    growing = GrowingText(job_id)
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


def _encode_rest(job: Job, growing: GrowingText) -> list[ServerSentEvent]:
    text = transcript_of(job).text
    return [*encode_delta(growing.finish(text)), *encode_end(text, job.token_counts)]


def encode_delta(delta: str) -> Iterator[ServerSentEvent]:
    """The frame of a delta, if it has any text."""
    if delta:
        yield encode_frame(TextDelta(delta=delta).model_dump())


def encode_end(text: str, counts: TokenCounts | None) -> Iterator[ServerSentEvent]:
    """The last two frames; the first of them says what was used, where that was counted."""
    done = TextDone(text=text, usage=counts and _render_tokens(counts))
    yield encode_frame(done.model_dump(exclude_none=True))
    yield ServerSentEvent(_END, sep="\n")


def _render_tokens(counts: TokenCounts) -> TokenUsage:
    inputs = counts.text_input + counts.audio_input
    return TokenUsage(
        input_tokens=inputs,
        output_tokens=counts.output,
        total_tokens=inputs + counts.output,
        input_token_details=InputTokens(text_tokens=counts.text_input, audio_tokens=counts.audio_input),
    )
