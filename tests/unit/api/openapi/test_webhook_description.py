"""/docs describes the real requests of webhooks, and the real meaning of their answers."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from api.access.signing_secrets import WebhookSecrets
from api.app import create_app
from api.outbound.clients import open_guarded_async_client
from api.outbound.urls import UrlRule
from api.schemas.jobs import JobEndedBody, JobErrorBody
from api.settings import ApiSettings
from api.webhooks.retry_plan import Verdict, judge_status
from api.webhooks.sender import Sender, compose_body
from shared.jobs import (
    Endpoint,
    Failure,
    FailureCode,
    JobState,
    NewJob,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record.deliveries import Delivery
from tests.support.receiver import SECRET, Received, Receiver

JOB_ID = "0c9b7e4d3f8a2b1c0d9e8f7a6b6f1d5a"
OTHER_SECRET = "whsec_YW5vdGhlciBzZWNyZXQsIG9mIG9uZSBBUEkga2V5IG9ubHk="  # noqa: S105 - of tests
METADATA = {"order": 17, "empty": [], "ü": {"deep": None}}
FAILURE = Failure(FailureCode.ENGINE_ERROR, "It failed.")
OF_HTTP = {"accept", "accept-encoding", "connection", "content-length", "content-type", "host"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What /openapi.json says of a server that asks for API keys."""
    settings = {
        "redis_url": "redis://127.0.0.1:1/0",
        "data_dir": tmp_path_factory.mktemp("data"),
        "api_keys": "ci=0123456789abcdef",
    }
    return create_app(ApiSettings.model_validate(settings)).openapi()


@pytest.fixture
def operation(document: dict[str, Any]) -> dict[str, Any]:
    """What it says of the one webhook."""
    assert list(document["webhooks"]) == ["job.ended"]
    described: dict[str, Any] = document["webhooks"]["job.ended"]["post"]
    return described


@pytest.fixture
def body_schema(document: dict[str, Any], operation: dict[str, Any]) -> jsonschema_rs.Validator:
    """Checks bodies as a receiver would that knows no more than the document."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": document["components"]}, validate_formats=True
    )


def deliver(
    state: JobState = JobState.SUCCEEDED,
    *,
    failure: Failure | None = None,
    metadata: dict[str, Any] | None = None,
    url: str = "https://example.com/transcribed",
) -> Delivery:
    """A delivery of a job that ended so."""
    upload = Upload(JOB_ID, "talk.wav", size_bytes=10, sha256="00", duration_s=10.0)
    job = NewJob(
        JOB_ID,
        Endpoint.JOBS,
        Priority.BATCH,
        upload,
        TranscriptionRequest(),
        metadata=metadata,
        webhook_url=url,
    )
    return Delivery(job, claim_no=1, state=state, failure=failure, ended_ms=1_768_469_407_800)


@pytest.fixture
async def received() -> Received:
    """What a receiver gets while the secret of the server is changed."""
    async with open_guarded_async_client(
        UrlRule(allow_private=True, param="webhook_url"), timeout_s=60
    ) as client:
        secrets = WebhookSecrets(of_server=(SECRET, OTHER_SECRET))
        sender = Sender(lambda: client, secrets, timeout_s=60, public_url="")
        with Receiver() as receiver:
            await sender.send(deliver(metadata=METADATA, url=receiver.url))
    [received] = receiver.received
    return received


def find_answer(operation: dict[str, Any], status: int) -> dict[str, Any]:
    """What is said of an answer with this status: of itself, or else of its range."""
    responses = operation["responses"]
    found: dict[str, Any] = responses.get(str(status)) or responses[f"{status // 100}XX"]
    return found


@pytest.mark.parametrize("public_url", ["", "https://asr.example.com"], ids=["path", "address"])
@pytest.mark.parametrize("metadata", [None, {}, METADATA], ids=["none", "empty", "some"])
@pytest.mark.parametrize(
    ("state", "failure"),
    [
        (JobState.SUCCEEDED, None),
        (JobState.CANCELLED, None),
        (JobState.FAILED, FAILURE),
    ],
    ids=["succeeded", "cancelled", "failed"],
)
def test_a_body_is_as_described(
    body_schema: jsonschema_rs.Validator,
    state: JobState,
    failure: Failure | None,
    metadata: dict[str, Any] | None,
    public_url: str,
) -> None:
    sent = compose_body(deliver(state, failure=failure, metadata=metadata), public_url=public_url)
    body_schema.validate(json.loads(sent))
    read = JobEndedBody.model_validate_json(sent, strict=True)
    assert read.type == f"job.{state}"
    assert read.data.metadata == metadata
    assert read.data.error == (JobErrorBody(code=failure.code, message="It failed.") if failure else None)


def test_every_described_field_is_sent_and_no_other(document: dict[str, Any]) -> None:
    sent = json.loads(compose_body(deliver(JobState.FAILED, failure=FAILURE), public_url=""))
    parts = {"JobEndedBody": sent, "EndedJobBody": sent["data"], "JobErrorBody": sent["data"]["error"]}
    for name, part in parts.items():
        schema = document["components"]["schemas"][name]
        assert set(part) == set(schema["properties"]) == set(schema["required"])


def test_each_final_state_has_an_example(
    operation: dict[str, Any], body_schema: jsonschema_rs.Validator
) -> None:
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {f"job.{state}" for state in JobState if state.is_final}
    for name, example in examples.items():
        body_schema.validate(example["value"])
        assert name == example["value"]["type"] == f"job.{example['value']['data']['state']}"
        assert (example["value"]["data"]["error"] is not None) is (name == "job.failed")


def test_the_schema_refuses_other_bodies(body_schema: jsonschema_rs.Validator) -> None:
    body = json.loads(compose_body(deliver(), public_url=""))
    for wrong in ({"type": "job.queued"}, {"timestamp": "yesterday"}, {"data": body["data"] | {"id": 1}}):
        assert not body_schema.is_valid(body | wrong)
    for name in body:
        assert not body_schema.is_valid({key: value for key, value in body.items() if key != name})


def test_the_described_headers_are_sent(operation: dict[str, Any], received: Received) -> None:
    described = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    assert set(received.headers) - OF_HTTP == set(described)
    assert received.headers["content-type"] in operation["requestBody"]["content"]
    for name, schema in described.items():
        came = received.headers[name]
        for value in (int(came) if schema["type"] == "integer" else came, *schema.get("examples", ())):
            jsonschema_rs.validate(schema, value)


def test_a_signature_is_made_as_described(operation: dict[str, Any], received: Received) -> None:
    meanings = {parameter["name"]: parameter["description"] for parameter in operation["parameters"]}
    [signed] = re.findall(r"HMAC-SHA256 of `(.*?)`", meanings["webhook-signature"])
    for name, value in {**received.headers, "body": received.body.decode()}.items():
        signed = signed.replace(f"{{{name}}}", value)
    expected = []
    for secret in (SECRET, OTHER_SECRET):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.digest(key, signed.encode(), hashlib.sha256)
        expected.append(f"v1,{base64.b64encode(digest).decode()}")
    assert received.headers["webhook-signature"].split() == expected


def test_every_status_has_the_described_effect(operation: dict[str, Any]) -> None:
    for status in range(200, 600):
        answer = find_answer(operation, status)
        is_tried_again = judge_status(status) is Verdict.RETRY
        assert ("it is sent again" in answer["description"]) is is_tried_again, status
        assert ("not sent again" in answer["description"]) is not is_tried_again, status
        assert ("Retry-After" in answer.get("headers", {})) is is_tried_again, status


def test_the_description_names_the_settings_and_their_defaults(operation: dict[str, Any]) -> None:
    defaults = ApiSettings.model_validate({"data_dir": Path(), "redis_url": "redis://127.0.0.1:1/0"})
    meaning = " ".join(operation["description"].split())
    assert f"WEBHOOK_TIMEOUT_S (by default {defaults.webhook_timeout_s:g} s)" in meaning
    assert f"by default there are {len(defaults.webhook_retries_s) + 1} attempts" in meaning
    assert "WEBHOOK_RETRIES_S" in meaning


def test_a_webhook_needs_no_api_key_and_has_no_error_answers(operation: dict[str, Any]) -> None:
    assert "security" not in operation
    assert "401" not in operation["responses"]
    for answer in operation["responses"].values():
        assert answer["description"]
        assert "content" not in answer
        assert set(answer.get("headers", {})) <= {"Retry-After"}


def test_every_part_of_a_webhook_is_described_with_an_example(operation: dict[str, Any]) -> None:
    assert operation["description"]
    for parameter in operation["parameters"]:
        assert parameter["in"] == "header"
        assert parameter["required"]
        assert parameter["description"], parameter["name"]
        assert {"examples", "const"} & set(parameter["schema"]), parameter["name"]
