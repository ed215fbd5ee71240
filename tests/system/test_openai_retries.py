"""OpenAI's clients repeat a request that failed for a while, and what they give up is not worked on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.openai_clients import (
    CLIENTS,
    Caller,
    ClientAnswer,
    ClientProcess,
    ClientProcesses,
    SentFile,
)
from tests.support.request_log import new_request_id, read_requests, read_statuses
from tests.support.server import RealServer, wait_for

MakeServer = Callable[..., RealServer]

# At this speed `tones` takes longer than any test waits.
SLOWLY = '{"speed": 0.05}'


def resendable(client: ClientProcess, path: Path) -> SentFile:
    """The file in a way that the client sends again: Node's does not with a stream."""
    return SentFile(path, "toFile" if client.is_node else None)


def counted(caller: Caller) -> tuple[Caller, str]:
    """The caller with an id that all its requests carry."""
    request_id = new_request_id()
    return caller.with_extras(headers={"x-request-id": request_id}), request_id


@pytest.mark.full
def test_without_a_worker_a_request_is_repeated_until_there_is_one(
    client_processes: ClientProcesses, make_server: MakeServer, tones: Path, tones_text: str
) -> None:
    server = make_server()
    server.redis.start()
    server.start_api()
    wait_for(lambda: is_up(server), what="the start of the api")
    clients = [client_processes.find(name) for name in CLIENTS]
    callers = [counted(client.at(server, max_retries=2)) for client in clients]

    def call(number: int) -> ClientAnswer:
        return callers[number][0].transcribe(resendable(clients[number], tones))

    with ThreadPoolExecutor(len(clients)) as threads:
        answers = [threads.submit(call, number) for number in range(len(clients))]
        for _, request_id in callers:
            wait_for(partial(read_statuses, server, request_id), what="a refusal")
        server.start_worker()
        texts = [answer.result().value["text"] for answer in answers]
    assert texts == [tones_text] * len(clients)
    for _, request_id in callers:
        # The line of a request is written once its answer is on its way.
        wait_for(lambda: read_statuses(server, request_id)[-1] == 200, what="the line of the last request")  # noqa: B023
        assert set(read_statuses(server, request_id)[:-1]) == {503}


def is_up(server: RealServer) -> bool:
    try:
        return server.client.get("/health").is_success
    except httpx.TransportError:
        return False


def test_a_refusal_for_a_while_says_for_how_long(make_server: MakeServer, tones: Path) -> None:
    server = make_server()
    server.redis.start()
    server.start_api()
    wait_for(lambda: is_up(server), what="the start of the api")
    answer = server.client.post("/v1/audio/transcriptions", files={"file": tones.read_bytes()})
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.json()["error"]["type"] == "server_error"


@pytest.mark.full
def test_a_client_that_waits_no_longer_leaves_no_work_behind(
    client: ClientProcess, openai_server: RealServer, tones: Path
) -> None:
    caller, request_id = counted(client.at(openai_server, timeout=0.7, max_retries=1))
    error = caller.transcribe(resendable(client, tones), prompt=SLOWLY).error
    assert error is not None
    assert "APIConnectionError" in error.bases
    assert "Timeout" in error.name
    wait_for(lambda: len(read_requests(openai_server, request_id)) == 2, what="the end of both requests")
    for request in read_requests(openai_server, request_id):
        assert request.status == 499
        if request.job_id:
            wait_for(partial(is_cancelled, openai_server, request.job_id), what="the end of the job")


def is_cancelled(server: RealServer, job_id: str) -> bool:
    return bool(server.client.get(f"/v1/jobs/{job_id}").json()["state"] == "cancelled")


def test_a_request_whose_job_somebody_cancelled_is_not_repeated(
    client: ClientProcess, openai_server: RealServer, tones: Path
) -> None:
    caller, request_id = counted(client.at(openai_server))

    def find_job() -> str | None:
        lines = [line for line in openai_server.log_text().splitlines() if request_id in line]
        submitted = [line for line in lines if "event=job_submitted" in line]
        return submitted[0].partition(" job_id=")[2].split()[0] if submitted else None

    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(caller.transcribe, resendable(client, tones), prompt=SLOWLY)
        openai_server.client.delete(f"/v1/jobs/{wait_for(find_job, what='the job')}")
        error = answer.result().error
    assert error is not None
    assert (error.name, error.status, error.code) == ("ConflictError", 409, "cancelled")
    assert wait_for(lambda: read_statuses(openai_server, request_id)) == [409]


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_is_not_there_is_an_error_of_the_connection(
    client: ClientProcess, make_server: MakeServer, tones: Path, *, stream: bool
) -> None:
    caller = client.at(make_server(), max_retries=0)
    error = caller.transcribe(tones, stream=stream).error
    assert error is not None
    assert error.name == "APIConnectionError"
