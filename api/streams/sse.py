"""Job events as server-sent events: the two kinds of stream that clients read."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message

from api.errors.answers import error_body
from api.formats.rendering import render_segment, render_warnings
from api.streams.following import JobFollower
from api.streams.spreading import spread
from shared.errors import QueueUnavailable, ServerError
from shared.events import AnyEvent, SegmentDone, Succeeded
from shared.record.event_log import LogPage

RETRY_MS = 2_000
"""How long clients are asked to wait at the most before they come back, in milliseconds."""

# On a stop the hub ends all streams in good order; only one that does not end in this time is cut.
_END_WITHIN_S = 2.0

_logger = structlog.get_logger(__name__)


def encode_frame(
    body: dict[str, Any],
    *,
    name: str | None = None,
    event_id: str | None = None,
    retry_ms: int | None = None,
) -> ServerSentEvent:
    """One event with `body` as its data, JSON on one line."""
    data = msgspec.json.encode(body).decode()
    return ServerSentEvent(data, event=name, id=event_id, retry=retry_ms, sep="\n")


def answer_stream(
    frames: AsyncGenerator[ServerSentEvent],
    *,
    heartbeat_s: float,
    on_client_left: Callable[[Message], Awaitable[None]] | None = None,
) -> EventSourceResponse:
    """The response that sends `frames` as they come, and a comment every `heartbeat_s` seconds at the latest.

    `on_client_left` is awaited where the connection is closed before the last of them was sent.
    """
    course = _Course(frames, on_client_left)
    return EventSourceResponse(
        course.follow(),
        ping=spread(heartbeat_s),
        ping_message_factory=_encode_heartbeat,
        client_close_handler_callable=course.on_disconnect,
        shutdown_grace_period=_END_WITHIN_S,
        headers={"Cache-Control": "no-cache"},
        sep="\n",
    )


class _Course:
    """Tells a client that leaves from the end of a response, which its listener hears as a disconnect too."""

    def __init__(
        self,
        frames: AsyncGenerator[ServerSentEvent],
        on_client_left: Callable[[Message], Awaitable[None]] | None,
    ) -> None:
        self._frames = frames
        self._on_client_left = on_client_left
        self._is_over = False

    async def follow(self) -> AsyncGenerator[ServerSentEvent]:
        async with aclosing(self._frames) as frames:
            async for frame in frames:
                yield frame
        self._is_over = True

    async def on_disconnect(self, message: Message) -> None:
        if self._on_client_left is not None and not self._is_over:
            await self._on_client_left(message)


async def stream_job_events(
    follower: JobFollower, job_id: str, *, after_id: str, first_page: LogPage
) -> AsyncGenerator[ServerSentEvent]:
    """Yield the events of a job after `after_id`, named and with ids, so that a client can resume.

    `first_page` is the page after `after_id`, which the caller has read. The first event gives the time after
    which to reconnect. It differs between clients, so that they do not all reconnect at once.
    """
    retry_ms: int | None = round(spread(RETRY_MS))
    pages = follower.follow_pages(job_id, after_id=after_id, first_page=first_page)
    async with aclosing(pages):
        try:
            async for page in pages:
                for logged in page:
                    event = logged.event
                    yield encode_frame(
                        describe_event(event), name=event.type, event_id=logged.event_id, retry_ms=retry_ms
                    )
                    retry_ms = None
        except QueueUnavailable:
            # To end without a final event is to say: come back, with the last id.
            _logger.warning("event_stream_cut", job_id=job_id)


async def guard_stream(frames: AsyncGenerator[ServerSentEvent]) -> AsyncGenerator[ServerSentEvent]:
    """`frames`, and an error that ends them as their last event: the headers are long gone."""
    async with aclosing(frames):
        try:
            async for frame in frames:
                yield frame
        except ServerError as error:
            _logger.info("stream_ended", reason=error.message)
            yield encode_frame(dict(error_body(error)))
        except Exception as error:  # the border of a stream
            _logger.exception("stream_failed")
            yield encode_frame(dict(error_body(error)))


def describe_event(event: AnyEvent) -> dict[str, Any]:
    """What clients are told of an event, beside its name."""
    if isinstance(event, SegmentDone):
        return render_segment(event.segment).model_dump(exclude_unset=True)
    if isinstance(event, Succeeded):
        warnings = [warning.model_dump() for warning in render_warnings(event.warnings)]
        return {"complete": event.is_complete, "warnings": warnings}
    return {name: getattr(event, name) for name in event.__struct_fields__}


def _encode_heartbeat() -> ServerSentEvent:
    return ServerSentEvent(comment="heartbeat", sep="\n")
