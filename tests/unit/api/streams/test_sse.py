"""Events are sent as clients can read them."""

from collections.abc import AsyncGenerator

import pytest
from sse_starlette import ServerSentEvent

from api.errors.tree import NoWorker
from api.streams.sse import describe_event, encode_frame, guard_stream
from shared import events
from shared.jobs import FailureCode
from shared.transcripts import Segment, TranscriptWarning, WarningCode, Word


def test_a_frame_is_one_line_of_json_whatever_the_text_holds() -> None:
    frame = encode_frame({"text": "a\n\r\u2028b ü"}, name="partial", event_id="1-0").encode().decode()
    assert frame == 'id: 1-0\nevent: partial\ndata: {"text":"a\\n\\r\u2028b ü"}\n\n'


def test_a_frame_may_have_a_reconnection_time() -> None:
    frame = encode_frame({}, name="queued", event_id="1-0", retry_ms=1_500).encode().decode()
    assert frame == "id: 1-0\nevent: queued\ndata: {}\nretry: 1500\n\n"


def test_a_frame_without_a_name_is_data_alone() -> None:
    assert encode_frame({"done": True}).encode() == b'data: {"done":true}\n\n'


@pytest.mark.parametrize(
    ("event", "described"),
    [
        (events.Queued(3, 1.5), {"position": 3, "eta_s": 1.5}),
        (
            events.Started(1, "whisper", "base", rows_in_use=3, max_rows=4),
            {"attempt": 1, "engine": "whisper", "model": "base", "rows_in_use": 3, "max_rows": 4},
        ),
        (events.Loading("weights", 1.5), {"phase": "weights", "elapsed_s": 1.5}),
        (
            events.Partial(0, "a", "b", "en"),
            {"window": 0, "delta": "a", "tail": "b", "language": "en"},
        ),
        (events.Progress(1.0, 2.0), {"processed_s": 1.0, "duration_s": 2.0}),
        (events.Requeued("worker_lost"), {"reason": "worker_lost"}),
        (events.Succeeded(), {"complete": True, "warnings": []}),
        (
            events.Succeeded(
                is_complete=False,
                warnings=(TranscriptWarning(WarningCode.TRUNCATED, "cut", 1.0, 2.0),),
            ),
            {
                "complete": False,
                "warnings": [{"code": "truncated", "message": "cut", "start": 1.0, "end": 2.0}],
            },
        ),
        (events.Failed(FailureCode.TIMEOUT, "slow"), {"code": "timeout", "message": "slow"}),
        (events.Cancelled(), {}),
        (
            events.SegmentDone(Segment(0.0, 1.0, " Hi. ", "en", (Word(0.0, 1.0, "Hi."),))),
            {
                "start": 0.0,
                "end": 1.0,
                "text": "Hi.",
                "language": "en",
                "words": [{"word": "Hi.", "start": 0.0, "end": 1.0}],
            },
        ),
    ],
)
def test_every_event_is_described_like_the_job(event: events.AnyEvent, described: dict[str, object]) -> None:
    assert describe_event(event) == described


@pytest.mark.parametrize(
    ("error", "code"), [(NoWorker(), "no_worker"), (KeyError("secret"), "internal_error")]
)
async def test_an_error_in_a_stream_is_its_last_event(error: Exception, code: str) -> None:
    async def frames() -> AsyncGenerator[ServerSentEvent]:
        yield encode_frame({"text": "a"})
        raise error

    sent: list[ServerSentEvent] = [frame async for frame in guard_stream(frames())]
    assert len(sent) == 2
    assert f'"code":"{code}"' in str(sent[1].data)
    assert "secret" not in str(sent[1].data)
