"""Clients of a chaos run ask again with the same key until they have their answer, and tell what it was."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from tests.chaos import clients
from tests.chaos.bookkeeping import Books
from tests.chaos.clients import Clients, Pace
from tests.chaos.clips import Clip
from tests.chaos.endpoints import URLS
from tests.chaos.mix import MIX, Ending, Endpoint, draw_endpoint

JOB = "/v1/jobs/one"
DONE = 'data: {"text": "a b", "is_final": true}\n\ndata: {"done": true}\n\n'
DELTAS = "".join(
    f'data: {{"type": "transcript.text.delta", "delta": "{delta}"}}\n\n' for delta in ("a", " b")
)
ALL = 'data: {"type": "transcript.text.done", "text": "a b"}\n\ndata: [DONE]\n\n'
NAMED = 'event: job\ndata: {"id": "one"}\n\n'
FINAL_EVENT = "event: succeeded\nid: 5-1\ndata: {}\n\n"
TRANSCRIBED = {"id": "one", "state": "succeeded", "transcript": {"text": "a b"}}

Answer = Callable[[], httpx.Response]


class OneClip:
    """The same clip for every number."""

    def __init__(self, ending: Ending = Ending.SUCCEEDED) -> None:
        self._ending = ending

    def make(self, number: int, _endpoint: Endpoint) -> Clip:
        return Clip(f"{number}.wav", b"audio", "a b", ending=self._ending)


class CutStream(httpx.AsyncByteStream):
    """A body whose connection breaks after `text`."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("cut")


def stream(text: str, *, is_cut: bool = False, job_id: str = "one") -> httpx.Response:
    body = CutStream(text) if is_cut else httpx.ByteStream(text.encode())
    headers = {"Content-Type": "text/event-stream", "X-Job-Id": job_id}
    return httpx.Response(200, headers=headers, stream=body)


def refuse(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code}})


def answer_sync(job_id: str = "one") -> httpx.Response:
    return httpx.Response(200, headers={"X-Job-Id": job_id}, json={"text": "a b"})


class Server:
    """Answers requests for each path in turn; the last answer is repeated."""

    def __init__(self, answers: dict[str, list[Answer]]) -> None:
        self._answers = answers
        self.asked: Counter[str] = Counter()
        self.keys: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked[path] += 1
        if request.method == "POST":
            self.keys.append(request.headers["Idempotency-Key"])
        turns = self._answers[path]
        return turns.pop(0)() if len(turns) > 1 else turns[0]()


@pytest.fixture(autouse=True)
def _brief_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(clients, "POLL_S", 0.001)


async def run_one(
    endpoint: Endpoint,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    ending: Ending = Ending.SUCCEEDED,
) -> tuple[Books, Clients]:
    """Let one job go through `endpoint`."""
    monkeypatch.setattr(clients, "draw_endpoint", lambda _seed, _number: endpoint)
    books = Books(1)
    async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://server") as http:
        asking = Clients(http, OneClip(ending), books, seed=1)
        await asking.run(Pace(1, 0, books))
    return books, asking


def cut() -> httpx.Response:
    raise httpx.ReadError("cut")


async def test_a_synchronous_call_is_repeated_with_its_key_until_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Answer] = [
        cut,
        lambda: refuse(503, "no_worker"),
        lambda: refuse(504, "timeout"),
        answer_sync,
    ]
    server = Server({URLS[Endpoint.SYNC]: answers})
    books, _ = await run_one(Endpoint.SYNC, server, monkeypatch)
    assert len(server.keys) == 4
    assert len(set(server.keys)) == 1
    assert books.answers == {"one": ["a b"]}
    assert books.retries == 3
    assert not books.unfinished


async def test_a_second_job_for_the_same_key_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[Answer] = [
        lambda: httpx.Response(503, headers={"X-Job-Id": "two"}, json={"error": {"code": "server_stopping"}}),
        answer_sync,
    ]
    books, _ = await run_one(Endpoint.SYNC, Server({URLS[Endpoint.SYNC]: named}), monkeypatch)
    assert books.second_jobs == 1
    assert books.accepted.keys() == {"one", "two"}


async def test_a_stream_is_read_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server({URLS[Endpoint.STREAM]: [lambda: stream(NAMED + DONE)]})
    books, _ = await run_one(Endpoint.STREAM, server, monkeypatch)
    assert books.answers == {"one": ["a b"]}
    assert books.broken_streams == 0


async def test_a_stream_that_breaks_before_it_has_named_its_job_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Answer] = [lambda: stream(": heartbeat\n\n", is_cut=True), lambda: stream(NAMED + DONE)]
    server = Server({URLS[Endpoint.STREAM]: answers})
    books, _ = await run_one(Endpoint.STREAM, server, monkeypatch)
    assert len(server.keys) == 2
    assert len(set(server.keys)) == 1
    assert books.refusals == {("none", Endpoint.STREAM, "stream cut (ReadError)"): 1}
    assert books.answers == {"one": ["a b"]}


@pytest.mark.parametrize(
    "broken",
    [
        lambda: stream(NAMED, is_cut=True),
        lambda: stream(NAMED),
        lambda: stream(NAMED + 'data: {"error": {"code": "queue_unavailable"}}\n\n'),
    ],
)
async def test_a_stream_that_breaks_later_is_followed_by_the_id_of_its_job(
    broken: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: Iterator[httpx.Response] = iter(
        [
            stream("event: queued\nid: 1-1\ndata: {}\n\n", is_cut=True),
            stream(FINAL_EVENT),
            httpx.Response(204),
        ]
    )
    server = Server(
        {
            URLS[Endpoint.STREAM]: [broken],
            f"{JOB}/events": [lambda: next(followed)],
            JOB: [
                cut,
                lambda: refuse(503, "queue_unavailable"),
                lambda: httpx.Response(200, json=TRANSCRIBED),
            ],
        }
    )
    books, asking = await run_one(Endpoint.STREAM, server, monkeypatch)
    assert len(server.keys) == 1
    assert books.broken_streams == 1
    assert books.answers == {"one": ["a b"]}
    assert [trace.ids for trace in asking.traces] == [["1-1", "5-1"]]


@pytest.mark.parametrize(
    ("text", "answers"),
    [(DELTAS + ALL, ["a b"]), (ALL, ["", "a b"]), (DELTAS * 2 + ALL, ["a b", "a ba b"])],
)
async def test_deltas_and_the_whole_text_are_two_answers_where_they_differ(
    text: str, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server({URLS[Endpoint.DELTAS]: [lambda: stream(text)]})
    books, _ = await run_one(Endpoint.DELTAS, server, monkeypatch)
    assert sorted(books.answers["one"]) == answers
    assert not books.beginnings


@pytest.mark.parametrize(
    ("end", "errors"), [("", []), ('data: {"error": {"code": "gone"}}\n\n', [("one", "gone")])]
)
async def test_deltas_that_break_are_how_the_text_begins(
    end: str, errors: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, list[Answer]] = {
        URLS[Endpoint.DELTAS]: [lambda: stream(DELTAS + end, is_cut=not end)],
        f"{JOB}/events": [lambda: stream(FINAL_EVENT), lambda: httpx.Response(204)],
        JOB: [lambda: httpx.Response(200, json=TRANSCRIBED)],
    }
    books, _ = await run_one(Endpoint.DELTAS, Server(answers), monkeypatch)
    assert books.beginnings == {"one": ["a b"]}
    assert books.broken_streams == 1
    assert books.stream_errors == errors
    assert books.answers == {"one": ["a b"]}


async def test_a_submit_is_repeated_until_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = json.dumps({"id": "one", "state": "queued"})
    answers: list[Answer] = [lambda: refuse(507, "storage_full"), lambda: httpx.Response(202, text=accepted)]
    books, _ = await run_one(Endpoint.JOBS, Server({URLS[Endpoint.JOBS]: answers}), monkeypatch)
    assert books.unfinished == {"one"}
    assert books.answers == {}
    assert books.refusals == {("none", Endpoint.JOBS, "507 storage_full"): 1}


def test_endpoints_are_drawn_from_the_seed_in_their_shares() -> None:
    endpoints = [draw_endpoint(7, number) for number in range(2_000)]
    assert endpoints == [draw_endpoint(7, number) for number in range(2_000)]
    assert endpoints != [draw_endpoint(8, number) for number in range(2_000)]
    assert all(abs(endpoints.count(endpoint) / 2_000 - share) < 0.05 for endpoint, share in MIX.items())


def show_state(state: str, status: int = 200) -> Answer:
    return lambda: httpx.Response(status, json={"id": "one", "state": state})


@pytest.mark.parametrize(
    ("answers", "cancelled", "deleted"),
    [
        ([show_state("queued"), cut, show_state("running"), show_state("running", 202)], {"one"}, set()),
        ([show_state("running"), cut, show_state("running"), show_state("queued")], {"one"}, set()),
        ([show_state("running"), lambda: httpx.Response(204)], set(), {"one"}),
        ([show_state("running"), cut, lambda: refuse(404, "job_not_found")], set(), {"one"}),
        ([show_state("running"), cut, show_state("cancelled")], set(), set()),
    ],
)
async def test_a_job_is_cancelled_once_it_is_running_until_that_is_confirmed(
    answers: list[Answer], cancelled: set[str], deleted: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = json.dumps({"id": "one", "state": "queued"})
    server = Server({URLS[Endpoint.JOBS]: [lambda: httpx.Response(202, text=accepted)], JOB: answers})
    books, _ = await run_one(Endpoint.JOBS, server, monkeypatch, Ending.CANCELLED)
    assert books.cancelled == cancelled
    assert books.deleted == deleted
    assert server.asked[JOB] == len(answers) or len(answers) == 1
