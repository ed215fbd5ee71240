"""`GET /v1/models` over real HTTP: every name of a model, with slashes or without."""

from typing import Any

import httpx
import pytest

from tests.support.api_server import OpenClient, ServeWith
from tests.support.scripted_worker import ScriptedWorker

MODEL = "tests/Scripted-0.6B"


def described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tests"}


def test_the_served_model_and_the_aliases_are_listed(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.get("/v1/models")
    names = [MODEL, "gpt-4o-mini-transcribe", "gpt-4o-transcribe", "gpt-transcribe", "whisper-1"]
    assert answer.json() == {"object": "list", "data": [described(name) for name in names]}


@pytest.mark.parametrize("name", ["tests/Scripted-0.6B", "tests%2FScripted-0.6B", "Scripted-0.6B"])
def test_a_model_is_found_with_its_slash_escaped_or_not_or_without_it(
    api: httpx.Client, redis_url: str, name: str
) -> None:
    with ScriptedWorker(redis_url):
        answer = api.get(f"/v1/models/{name}")
    assert (answer.status_code, answer.json()) == (200, described(MODEL))


def test_an_alias_is_found_by_its_own_name(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        assert api.get("/v1/models/whisper-1").json() == described("whisper-1")


@pytest.mark.parametrize(
    "name",
    [
        *("gpt-transcribe", "gpt-4o-mini-transcribe-2025-12-15", "gpt-transcribe-2026-03-01"),
        *("whisper-large-v3", "whisper-large-v3-turbo", "openai/whisper-large-v3"),
        *("Systran/faster-whisper-large-v3", "Systran%2Ffaster-distil-whisper-small.en"),
    ],
)
def test_names_of_other_servers_and_dated_snapshots_are_aliases(
    api: httpx.Client, redis_url: str, name: str
) -> None:
    with ScriptedWorker(redis_url):
        answer = api.get(f"/v1/models/{name}")
    assert (answer.status_code, answer.json()) == (200, described(name.replace("%2F", "/")))


def test_aliases_of_the_operator_may_be_patterns(
    open_client: OpenClient, serve_with: ServeWith, redis_url: str
) -> None:
    client = open_client(serve_with(model_aliases="mine, team-?/*").url)
    with ScriptedWorker(redis_url):
        found = {name: client.get(f"/v1/models/{name}").status_code for name in ("team-a/x", "team-ab/x")}
        listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert found == {"team-a/x": 200, "team-ab/x": 404}
    assert listed == [MODEL, "mine"]


@pytest.mark.parametrize(
    "name",
    ["gpt-4o-transcribe-diarize", "gpt-4o-2025-12-15", "gpt-9", "tests/other", "tests%2Fother", "tests"],
)
def test_an_unknown_model_is_not_found(api: httpx.Client, redis_url: str, name: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.get(f"/v1/models/{name}")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        "model",
        "model_not_found",
    )
    assert MODEL in error["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/whisper-1"])
def test_without_a_worker_no_model_is_served(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")
