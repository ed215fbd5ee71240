"""OpenAI's clients come to a server that has much to do already."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.audio import make_tones, write_wav
from tests.support.openai_clients import Caller, ClientProcess, ClientProcesses, SentFile
from tests.support.request_log import new_request_id, read_requests, read_statuses
from tests.support.server import RealServer, wait_for

MakeServer = Callable[..., RealServer]
Occupy = Callable[[float, int], None]

# At this speed a file takes longer than any test waits.
SLOWLY = '{"speed": 0.001}'


@pytest.fixture(scope="module")
def small_server(make_lasting_server: MakeServer) -> RealServer:
    """A server where three jobs may wait."""
    return make_lasting_server(MAX_QUEUED_JOBS="3").start()


@pytest.fixture
def occupy(small_server: RealServer) -> Iterator[Occupy]:
    """Gives the worker a job of so many seconds, and the queue so many more; they go with the test."""
    api, urls = small_server.client, list[str]()

    def count_queued() -> int:
        return int(api.get("/health").json()["queued_jobs"])

    def occupy(audio_s: float, jobs: int) -> None:
        form = {"priority": "interactive", "prompt": SLOWLY}
        for waiting in (0, *range(1, jobs + 1)):
            answer = api.post("/v1/jobs", files={"file": write_wav(make_tones(audio_s))}, data=form)
            urls.append(answer.headers["location"])
            wait_for(lambda: count_queued() == waiting, what="its place")  # noqa: B023

    yield occupy
    for url in reversed(urls):
        api.delete(url)
    for url in urls:
        wait_for(lambda: api.get(url).json()["state"] == "cancelled", what="the end of a job")  # noqa: B023


def counted(caller: Caller) -> tuple[Caller, str]:
    """The caller with an id that all its requests carry."""
    request_id = new_request_id()
    return caller.with_extras(headers={"x-request-id": request_id}), request_id


@pytest.mark.parametrize("name", ["python", "python-async", "python-1", "python-1-async"])
def test_who_would_wait_for_nothing_is_told_so(
    client_processes: ClientProcesses, small_server: RealServer, occupy: Occupy, tones: Path, name: str
) -> None:
    """The client for Node says how long it waits for a single request, but not for all of them."""
    occupy(20, 2)
    caller, request_id = counted(client_processes.find(name).at(small_server, timeout=20, max_retries=0))
    error = caller.transcribe(tones).error
    assert error is not None
    assert (error.name, error.status, error.code) == ("RateLimitError", 429, "queue_too_long")
    assert "20 s" in error.message
    request = wait_for(lambda: read_requests(small_server, request_id), what="the line of the request")[0]
    assert (request.status, request.job_id) == (429, None)


def test_a_full_queue_is_an_error_of_the_rate(
    client: ClientProcess, small_server: RealServer, occupy: Occupy, tones: Path
) -> None:
    occupy(2, 3)
    error = client.at(small_server, max_retries=0).transcribe(tones).error
    assert error is not None
    assert (error.name, error.status, error.code) == ("RateLimitError", 429, "rate_limit_exceeded")
    assert error.type == "rate_limit_error"


@pytest.mark.full
def test_a_client_comes_back_when_it_was_told_to(
    client: ClientProcess, small_server: RealServer, occupy: Occupy, tones: Path
) -> None:
    occupy(2, 3)
    refused = small_server.client.post("/v1/audio/transcriptions", files={"file": tones.read_bytes()})
    retry_after_s = int(refused.headers["retry-after"])
    assert retry_after_s == 2  # more than a client waits that was told nothing
    caller, request_id = counted(client.at(small_server, max_retries=1))
    sent = SentFile(tones, "toFile" if client.is_node else None)
    with ThreadPoolExecutor(1) as threads:
        began = time.monotonic()
        answer = threads.submit(caller.transcribe, sent)
        wait_for(lambda: read_statuses(small_server, request_id) == [429], what="the refusal")
        error = answer.result().error
    assert error is not None
    assert error.name == "RateLimitError"
    assert time.monotonic() - began >= retry_after_s
    wait_for(lambda: read_statuses(small_server, request_id) == [429, 429], what="both refusals")
