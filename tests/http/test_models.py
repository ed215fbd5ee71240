"""`GET /v1/models` over real HTTP: every name of a model, with slashes or without."""

from typing import Any

import httpx
import pytest

from tests.support.scripted_worker import ScriptedWorker

MODEL = "tests/Scripted-0.6B"


def described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tests"}


def test_the_served_model_and_the_aliases_are_listed(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.get("/v1/models")
    names = [MODEL, "gpt-4o-mini-transcribe", "gpt-4o-transcribe", "whisper-1"]
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


@pytest.mark.parametrize("name", ["gpt-9", "tests/other", "tests%2Fother", "tests"])
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
