"""/docs tells the truth: every field described, every error in its real shape."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.settings import ApiSettings


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


def test_no_answer_is_documented_that_is_never_given(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert "422" not in operation["responses"], name
    assert "HTTPValidationError" not in document["components"]["schemas"]
