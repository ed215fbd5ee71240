"""OpenAI's clients list the models, and ask for each by any of its names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.openai_clients import Caller, ClientProcess
from tests.support.server import RealServer

MakeServer = Callable[..., RealServer]
ALIASES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")


@pytest.fixture(scope="module")
def slashed_server(make_lasting_server: MakeServer) -> RealServer:
    """A server whose model has a slash in its name; nothing is transcribed there, so nothing is loaded."""
    return make_lasting_server(ENGINE="whisper", WHISPER_MODEL="Systran/faster-whisper-tiny").start()


def test_the_models_are_listed(caller: Caller) -> None:
    models = caller.list_models().value["data"]
    assert "scripted" in {model["id"] for model in models}
    for model in models:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert model["owned_by"]


def test_every_model_that_is_listed_can_be_retrieved(caller: Caller) -> None:
    for model in caller.list_models().value["data"]:
        answer = caller.retrieve_model(model["id"])
        assert answer.error is None
        assert answer.value["id"] == model["id"]
        assert answer.value["object"] == "model"


def test_a_model_that_is_not_there_is_not_found(caller: Caller) -> None:
    error = caller.retrieve_model("Nobody/Nothing-1B").error
    assert error is not None
    assert (error.name, error.status, error.code) == ("NotFoundError", 404, "model_not_found")
    assert error.type == "invalid_request_error"
    assert error.request_id


@pytest.mark.parametrize("model", [*ALIASES, "scripted"])
def test_every_name_of_the_model_serves_to_transcribe(
    some_caller: Caller, tones: Path, tones_text: str, model: str
) -> None:
    answer = some_caller.transcribe(tones, model=model)
    assert answer.value["text"] == tones_text


@pytest.mark.parametrize("model", ["gpt-5", "openai/whisper-1", "scripted2"])
def test_any_other_name_is_not_found(some_caller: Caller, tones: Path, model: str) -> None:
    error = some_caller.transcribe(tones, model=model).error
    assert error is not None
    assert (error.name, error.status, error.param) == ("NotFoundError", 404, "model")
    assert error.code == "model_not_found"
    assert "scripted" in error.message


def test_a_name_with_a_slash_is_found_escaped_or_not(
    some_client: ClientProcess, slashed_server: RealServer
) -> None:
    answer = some_client.at(slashed_server).retrieve_model("Systran/faster-whisper-tiny")
    assert answer.value["id"] == "Systran/faster-whisper-tiny"
    plain = slashed_server.client.get("/v1/models/Systran/faster-whisper-tiny")
    assert plain.json()["id"] == "Systran/faster-whisper-tiny"
