"""/docs tells the truth: every field described, every error in its real shape."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.settings import ApiSettings
from shared.transcripts import WarningCode


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("data")
    return create_app(ApiSettings(redis_url="redis://127.0.0.1:1/0", data_dir=folder)).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_all_doors_are_there(document: dict[str, Any]) -> None:
    assert {name for name, _ in operations(document)} == {
        "POST /v1/audio/transcriptions",
        "POST /v1/audio/transcriptions/stream",
        "POST /v1/jobs",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "GET /v1/jobs/{job_id}",
        "GET /v1/jobs/{job_id}/events",
        "DELETE /v1/jobs/{job_id}",
        "GET /health",
        "GET /ready",
    }


def test_every_operation_and_parameter_is_described(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["description"], name
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{name}: {parameter['name']}"


def test_every_field_of_every_body_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            assert described.get("description"), f"{name}.{field}"


def test_forms_are_described_as_multipart_with_a_file(document: dict[str, Any]) -> None:
    for path in ("/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"):
        body = document["paths"][path]["post"]["requestBody"]
        form = body["content"]["multipart/form-data"]["schema"]
        assert body["required"]
        assert form["properties"]["file"]["format"] == "binary"


def test_the_answer_always_says_who_made_it_and_whether_it_is_complete(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"complete", "engine", "model"} <= set(schemas["TranscriptionAnswer"]["required"])
    assert {"code", "message", "start", "end"} == set(schemas["WarningBody"]["required"])
    assert set(schemas["WarningCode"]["enum"]) == set(WarningCode)


def test_all_formats_of_an_answer_are_there(document: dict[str, Any]) -> None:
    answer = document["paths"]["/v1/audio/transcriptions"]["post"]["responses"]["200"]
    assert set(answer["content"]) == {"application/json", "text/plain", "text/event-stream"}
    references = {shape["$ref"] for shape in answer["content"]["application/json"]["schema"]["anyOf"]}
    assert {name.rpartition("/")[2] for name in references} == {"TranscriptionAnswer", "VerboseTranscription"}
    segment = document["components"]["schemas"]["VerboseSegment"]
    assert len(segment["required"]) == len(segment["properties"]) == 10


def test_every_header_of_an_answer_is_described(document: dict[str, Any]) -> None:
    headers = document["paths"]["/v1/audio/transcriptions"]["post"]["responses"]["200"]["headers"]
    assert set(headers) == {
        "X-Job-Id", "Idempotent-Replayed", "X-Engine", "X-Model",
        "X-Transcript-Complete", "X-Transcript-Warnings",
    }  # fmt: skip
    assert all(header["description"] for header in headers.values())


def test_every_door_takes_an_idempotency_key_and_says_when_it_is_full(document: dict[str, Any]) -> None:
    for path in ("/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"):
        operation = document["paths"][path]["post"]
        (key,) = operation["parameters"]
        assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", False)
        answer = next(
            operation["responses"][status] for status in ("200", "202") if status in operation["responses"]
        )
        assert "Idempotent-Replayed" in answer["headers"]
        for status in ("422", "429", "503"):
            shape = operation["responses"][status]["content"]["application/json"]["schema"]
            assert shape["$ref"].endswith("/ErrorBody")


def test_no_answer_is_documented_that_is_never_given(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        takes_keys = "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", [])}
        assert ("422" in operation["responses"]) is takes_keys, name
    assert "HTTPValidationError" not in document["components"]["schemas"]
