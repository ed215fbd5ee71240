"""With API_KEYS set, OpenAI's clients need a right key, and see only what is theirs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.openai_clients import ClientProcess, SentFile
from tests.support.request_log import new_request_id, read_requests
from tests.support.server import RealServer, wait_for

MakeServer = Callable[..., RealServer]

FIRST_KEY = "sk-tests-first-0123456789abcdef"
SECOND_KEY = "sk-tests-second-0123456789abcdef"


@pytest.fixture(scope="module")
def locked_server(make_lasting_server: MakeServer) -> RealServer:
    """A server that two keys open."""
    return make_lasting_server(API_KEYS=f"{FIRST_KEY},{SECOND_KEY}").start()


@pytest.mark.parametrize("key", [FIRST_KEY, SECOND_KEY])
def test_each_key_opens_every_endpoint(
    client: ClientProcess, locked_server: RealServer, tones: Path, tones_text: str, key: str
) -> None:
    caller = client.at(locked_server, api_key=key)
    assert caller.transcribe(tones).value["text"] == tones_text
    assert caller.transcribe(tones, stream=True).events[-1]["text"] == tones_text
    assert caller.list_models().error is None


def test_a_wrong_key_is_refused_and_not_tried_again(
    client: ClientProcess, locked_server: RealServer, tones: Path
) -> None:
    request_id = new_request_id()
    caller = client.at(locked_server, api_key="sk-wrong").with_extras(headers={"x-request-id": request_id})
    file = SentFile(tones, "toFile" if client.is_node else None)
    for answer in (caller.transcribe(file), caller.transcribe(file, stream=True)):
        assert answer.error is not None
        assert (answer.error.name, answer.error.status) == ("AuthenticationError", 401)
        assert (answer.error.type, answer.error.code) == ("invalid_request_error", "invalid_api_key")
        assert "sk-wrong" not in answer.error.message
    requests = wait_for(lambda: read_requests(locked_server, request_id))
    assert {(request.status, request.job_id) for request in requests} == {(401, None)}
    assert len(requests) <= 2


def test_a_wrong_key_sees_no_models(client: ClientProcess, locked_server: RealServer) -> None:
    caller = client.at(locked_server, api_key="sk-wrong")
    for answer in (caller.list_models(), caller.retrieve_model("scripted")):
        assert answer.error is not None
        assert answer.error.name == "AuthenticationError"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}])
def test_no_key_is_refused(locked_server: RealServer, headers: dict[str, str]) -> None:
    answer = locked_server.client.get("/v1/models", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


def test_a_large_upload_without_a_key_gets_its_refusal(
    some_client: ClientProcess, locked_server: RealServer, tmp_path: Path
) -> None:
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(8 << 20))
    error = some_client.at(locked_server, api_key="sk-wrong").transcribe(large).error
    assert error is not None
    assert error.status == 401


def test_a_key_sees_only_its_own_jobs(locked_server: RealServer, tones: Path) -> None:
    first, second = ({"Authorization": f"Bearer {key}"} for key in (FIRST_KEY, SECOND_KEY))
    accepted = locked_server.client.post("/v1/jobs", files={"file": tones.read_bytes()}, headers=first)
    location = accepted.headers["location"]
    assert locked_server.client.get(location, headers=first).status_code == 200
    for path in (location, f"{location}/events"):
        assert locked_server.client.get(path, headers=second).status_code == 404
    assert locked_server.client.delete(location, headers=second).status_code == 404
    assert locked_server.client.get(location, headers=first).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_the_probes_stay_open(locked_server: RealServer, path: str) -> None:
    assert locked_server.client.get(path).status_code == 200


def test_no_key_is_in_the_log(locked_server: RealServer) -> None:
    log = locked_server.log_text()
    assert FIRST_KEY not in log
    assert SECOND_KEY not in log
