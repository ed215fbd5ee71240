"""Server-sent events: frames, responses, and the stream of the events of a job."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message

from api.errors.answers import error_body
from api.formats.rendering import render_segment, render_warnings
from api.streams.following import JobFollower, spread
from shared.errors import QueueUnavailable, ServerError
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
from shared.record.readings import LogPage

RETRY_MS = 2_000
"""Milliseconds after which a client reconnects, at most."""

# On a stop the hub ends all streams. A stream that takes longer than this is cut.
_END_WITHIN_S = 2.0

_logger = structlog.get_logger(__name__)


def encode_frame(
    body: dict[str, Any],
    *,
    name: str | None = None,
    event_id: str | None = None,
    retry_ms: int | None = None,
) -> ServerSentEvent:
    """Return an event with `body` as its data, JSON on one line."""
    data = msgspec.json.encode(body).decode()
    return ServerSentEvent(data, event=name, id=event_id, retry=retry_ms, sep="\n")


def answer_stream(
    frames: AsyncGenerator[ServerSentEvent],
    *,
    heartbeat_s: float,
    on_disconnect: Callable[[], Awaitable[None]] | None = None,
) -> EventSourceResponse:
    """Return the response that sends `frames`, and a comment at least every `heartbeat_s` seconds.

    `on_disconnect` is awaited if the client closes the connection before the last frame was sent.
    """
    is_over = False

    async def follow() -> AsyncGenerator[ServerSentEvent]:
        nonlocal is_over
        async with aclosing(frames):
            async for frame in frames:
                yield frame
        is_over = True

    async def end(_message: Message) -> None:
        # ASGI reports the end of a response as a disconnect too.
        if on_disconnect is not None and not is_over:
            await on_disconnect()

    return EventSourceResponse(
        follow(),
        ping=spread(heartbeat_s),
        ping_message_factory=_encode_heartbeat,
        client_close_handler_callable=end,
        shutdown_grace_period=_END_WITHIN_S,
        headers={"Cache-Control": "no-cache"},
        sep="\n",
    )


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
            # A stream that ends without a final event makes the client reconnect with the last id.
            _logger.warning("event_stream_cut", job_id=job_id)


async def guard_stream(frames: AsyncGenerator[ServerSentEvent]) -> AsyncGenerator[ServerSentEvent]:
    """Yield `frames`, and an error as the last frame, since the status has been sent before."""
    async with aclosing(frames):
        try:
            async for frame in frames:
                yield frame
        except ServerError as error:
            _logger.info("stream_ended", reason=error.message)
            yield encode_frame(dict(error_body(error)))
        except Exception as error:  # the border of a stream: the client gets the error
            _logger.exception("stream_failed")
            yield encode_frame(dict(error_body(error)))


def describe_event(event: AnyEvent) -> dict[str, Any]:
    """Return the data of an event, as clients get it beside its name."""
    match event:
        case SegmentDone(segment=segment):
            return render_segment(segment).model_dump(exclude_unset=True)
        case Succeeded(is_complete=is_complete, warnings=warnings):
            rendered = [warning.model_dump() for warning in render_warnings(warnings)]
            return {"complete": is_complete, "warnings": rendered}
        # No default: mypy reports an event that is missing here.
        case Queued() | Started() | Loading() | Partial() | Progress() | Requeued() | Failed() | Cancelled():
            return {name: getattr(event, name) for name in event.__struct_fields__}


def _encode_heartbeat() -> ServerSentEvent:
    return ServerSentEvent(comment="heartbeat", sep="\n")
