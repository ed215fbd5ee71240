"""OpenAI's transcript stream: text deltas, then the whole text, then the end.

OpenAI's clients fail on ids, names, `retry` and event types of other servers, so none of these is sent.
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
from shared.record.readings import LOG_START
from shared.transcripts import TokenCounts

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
        yield encode_frame(TextDelta(delta=delta).model_dump())


def encode_end(text: str, counts: TokenCounts | None) -> Iterator[ServerSentEvent]:
    """Yield the last two frames. The first has the token usage, if the tokens were counted."""
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
