"""/docs describes every field, and every error in its real shape."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.errors.answers import UNFORESEEN, list_answers
from api.errors.tree import StreamInterrupted
from api.middleware.cors import EXPOSED_HEADERS
from api.settings import ApiSettings
from shared import errors
from shared.transcripts import WarningCode

# What names a quantity by its last part, and what its description says then.
UNITS = {"_s": "[Ss]econds", "_ms": "[Mm]illiseconds", "_bytes": "bytes"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return describe(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def keyed_document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return describe(tmp_path_factory.mktemp("data"), api_keys="ci=0123456789abcdef")


def describe(folder: Path, **settings: str) -> dict[str, Any]:
    """What /openapi.json says."""
    given = {"redis_url": "redis://127.0.0.1:1/0", "data_dir": folder, **settings}
    return create_app(ApiSettings.model_validate(given)).openapi()


def responses(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The name of an operation, a status, and what is said of that answer."""
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            yield name, status, response


def test_a_page_of_another_origin_may_read_every_described_header(document: dict[str, Any]) -> None:
    described = {name.lower() for _, _, answer in responses(document) for name in answer.get("headers", {})}
    assert described - {"allow"} <= {name.lower() for name in EXPOSED_HEADERS}


def find_codes(response: dict[str, Any]) -> list[str | None]:
    """The codes that an answer to an error may have."""
    schema = response["content"]["application/json"]["schema"]
    codes: list[str | None] = schema["properties"]["error"]["properties"]["code"]["enum"]
    return codes


def fields(schema: Any, at: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each property in a schema, however deep: where it is, its name, and what is said of it."""
    if isinstance(schema, list):
        for part in schema:
            yield from fields(part, at)
    elif isinstance(schema, dict):
        for name, described in schema.get("properties", {}).items():
            yield f"{at}.{name}", name, described
        for name, part in schema.items():
            if name not in {"examples", "example"}:
                yield from fields(part, f"{at}.{name}")


def has_example(schema: Any) -> bool:
    """Whether it is clear how a value looks: by an example, by all values there are, or by its parts."""
    if isinstance(schema, list):
        return any(map(has_example, schema))
    known = {"examples", "const", "enum", "$ref", "contentSchema", "properties"}
    if not known.isdisjoint(schema) or schema.get("format") == "binary":
        return True
    return any(
        has_example(schema[inner]) for inner in ("items", "anyOf", "oneOf", "allOf") if inner in schema
    )


def all_codes(kind: type[errors.ServerError]) -> set[str | None]:
    """The codes of this class of errors and of all below it."""
    below = (all_codes(sub) for sub in kind.__subclasses__())
    return {answer.code for answer in list_answers(kind)}.union(*below)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_all_endpoints_are_there(document: dict[str, Any]) -> None:
    assert {name for name, _ in operations(document)} == {
        "POST /v1/audio/transcriptions",
        "POST /v1/audio/transcriptions/stream",
        "POST /v1/jobs",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "GET /v1/jobs/{job_id}/transcript",
        "GET /v1/jobs/{job_id}/events",
        "POST /v1/jobs/{job_id}/stream-token",
        "DELETE /v1/jobs/{job_id}",
        "GET /health",
        "GET /ready",
    }


def test_every_operation_and_parameter_is_described_and_has_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["description"], name
        for parameter in operation.get("parameters", []):
            at = f"{name}: {parameter['name']}"
            assert parameter.get("description"), at
            assert has_example(parameter["schema"]), at
            assert {"type": "null"} not in parameter["schema"].get("anyOf", []), at


def test_operations_and_tags_have_names_and_descriptions_for_people(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    for name, operation in operations(document):
        assert {*operation["tags"]} <= described, name
        assert operation["summary"].lower() != operation["operationId"].replace("_", " "), name
    summaries = [operation["summary"] for _, operation in operations(document)]
    assert len(set(summaries)) == len(summaries)


def test_every_field_of_every_body_is_described_with_an_example_and_its_unit(
    document: dict[str, Any],
) -> None:
    found = list(fields(document["components"]["schemas"]))
    for _, operation in operations(document):
        found += fields(operation.get("requestBody", {}))
    assert len(found) > 150
    for at, name, described in found:
        assert described.get("description"), at
        assert has_example(described), at
        for suffix, unit in UNITS.items():
            assert not name.endswith(suffix) or re.search(unit, described["description"]), at


def test_every_answer_has_a_content_type_a_schema_and_described_headers(document: dict[str, Any]) -> None:
    for name, status, response in responses(document):
        at = f"{name} {status}"
        assert response["description"], at
        assert ("content" in response) is (status != "204"), at
        for media_type, content in response.get("content", {}).items():
            assert content.get("schema"), f"{at} {media_type}"
        assert "X-Request-Id" in response["headers"], at
        for header, described in response["headers"].items():
            assert described["description"], f"{at} {header}"
            assert has_example(described["schema"]), f"{at} {header}"


def test_every_error_has_the_same_shape_and_lists_its_codes(document: dict[str, Any]) -> None:
    for name, status, response in responses(document):
        if int(status) < 400:
            continue
        schema = response["content"]["application/json"]["schema"]
        assert schema["$ref"] == "#/components/schemas/ErrorBody"
        for code in find_codes(response):
            assert f"- `{code or 'null'}`: " in response["description"], f"{name} {status} {code}"
    assert all("500" in operation["responses"] for _, operation in operations(document))


def test_every_error_code_is_documented(keyed_document: dict[str, Any]) -> None:
    documented = {
        code
        for _, status, response in responses(keyed_document)
        if int(status) >= 400
        for code in find_codes(response)
    }
    in_a_stream = {answer.code for answer in list_answers(StreamInterrupted)}
    assert documented == (all_codes(errors.ServerError) | {UNFORESEEN.code}) - in_a_stream


def test_temporary_errors_document_retry_after(document: dict[str, Any]) -> None:
    for name, status, response in responses(document):
        if status in {"429", "503"}:
            assert "Retry-After" in response["headers"], f"{name} {status}"


def test_with_api_keys_all_operations_with_data_require_one(keyed_document: dict[str, Any]) -> None:
    for name, operation in operations(keyed_document):
        is_open = name.split()[1] in {"/health", "/ready"}
        assert ("401" in operation["responses"]) is not is_open, name
        assert ("security" in operation) is not is_open, name
    events = keyed_document["paths"]["/v1/jobs/{job_id}/events"]["get"]
    assert events["security"] == [{"bearer": []}, {"stream_token": []}]
    assert find_codes(events["responses"]["401"]) == [
        "missing_api_key", "invalid_api_key", "invalid_stream_token",
    ]  # fmt: skip
    assert set(keyed_document["components"]["securitySchemes"]) == {"bearer", "stream_token"}


def test_a_new_job_links_to_all_its_operations(document: dict[str, Any]) -> None:
    by_id = {operation["operationId"]: name for name, operation in operations(document)}
    for status in ("200", "202"):
        answer = document["paths"]["/v1/jobs"]["post"]["responses"][status]
        linked = {by_id[link["operationId"]] for link in answer["links"].values()}
        assert linked == {name for name in by_id.values() if "/v1/jobs/{job_id}" in name}
        assert {"Location", "Preference-Applied", "X-Job-Id"} <= set(answer["headers"])


def test_every_reference_has_a_schema(document: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert named <= set(document["components"]["schemas"])


def test_forms_are_described_as_multipart_with_a_file(document: dict[str, Any]) -> None:
    for path in ("/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"):
        body = document["paths"][path]["post"]["requestBody"]
        form = body["content"]["multipart/form-data"]["schema"]
        assert body["required"]
        assert form["properties"]["file"]["format"] == "binary"


def test_only_a_job_may_have_a_url_instead_of_a_file(document: dict[str, Any]) -> None:
    content = {
        path: document["paths"][path]["post"]["requestBody"]["content"]
        for path in ("/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs")
    }
    job = content.pop("/v1/jobs")
    assert "required" not in job["multipart/form-data"]["schema"]
    assert "oneOf" not in job["multipart/form-data"]["schema"]
    without_file = job["application/x-www-form-urlencoded"]["schema"]
    assert without_file["required"] == ["url"]
    assert "file" not in without_file["properties"]
    for other in content.values():
        assert other["multipart/form-data"]["schema"]["required"] == ["file"]
        assert set(other) == {"multipart/form-data"}


def test_an_answer_requires_engine_model_and_completeness(document: dict[str, Any]) -> None:
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
        "X-Transcript-Complete", "X-Transcript-Warnings", "X-Request-Id", "X-Ignored-Fields",
    }  # fmt: skip
    assert all(header["description"] for header in headers.values())


def test_every_submit_endpoint_documents_its_key_and_its_limits(document: dict[str, Any]) -> None:
    for path in ("/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"):
        operation = document["paths"][path]["post"]
        (key,) = (given for given in operation["parameters"] if given["name"] != "Prefer")
        assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", False)
        answer = next(
            operation["responses"][status] for status in ("200", "202") if status in operation["responses"]
        )
        assert "Idempotent-Replayed" in answer["headers"]
        for status in ("422", "429", "503"):
            shape = operation["responses"][status]["content"]["application/json"]["schema"]
            assert shape["$ref"].endswith("/ErrorBody")


def test_impossible_answers_are_not_documented(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        takes_keys = "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", [])}
        assert ("422" in operation["responses"]) is takes_keys, name
    assert "HTTPValidationError" not in document["components"]["schemas"]
