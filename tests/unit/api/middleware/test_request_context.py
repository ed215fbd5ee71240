"""Every answer carries the id of its request, and no failure goes unanswered."""

from collections.abc import AsyncGenerator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from api.access.request_state import find_state
from api.access.stream_slots import StreamSlots
from api.errors.handlers import CatchAll
from api.middleware.request_context import RequestContext


async def _answer(request: Request) -> Response:
    find_state(request.scope).note_job("job-1")
    return PlainTextResponse("fine")


async def _fail(_request: Request) -> Response:
    raise RuntimeError("secret")


async def _fail_midway(_request: Request) -> Response:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"half"
        raise RuntimeError("secret")

    return StreamingResponse(pieces())


@pytest.fixture
def client() -> httpx.AsyncClient:
    routes = [Route("/", _answer), Route("/fail", _fail), Route("/midway", _fail_midway)]
    context = Middleware(RequestContext, slots=StreamSlots(max_streams=1, max_per_key=1))
    app = Starlette(routes=routes, middleware=[context, Middleware(CatchAll)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_an_answer_names_its_request_and_its_job(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-job-id"] == "job-1"


async def test_the_id_of_a_client_is_kept_if_it_is_sane(client: httpx.AsyncClient) -> None:
    sane = await client.get("/", headers={"x-request-id": "abc-123"})
    assert sane.headers["x-request-id"] == "abc-123"
    for insane in ("a b", "x" * 65, "<script>"):
        answer = await client.get("/", headers={"x-request-id": insane})
        assert answer.headers["x-request-id"] != insane


async def test_an_unforeseen_failure_is_answered_in_the_usual_shape(client: httpx.AsyncClient) -> None:
    answer = await client.get("/fail")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"]


async def test_a_failure_within_an_answer_does_not_look_like_its_end(
    client: httpx.AsyncClient,
) -> None:
    with pytest.raises(RuntimeError):
        await client.get("/midway")
