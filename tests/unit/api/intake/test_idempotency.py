"""Requests with the same endpoint, fields and file have the same digest."""

import subprocess
import sys

import pytest

from api.intake.form_fields import parse_form
from api.intake.forms import JobForm, SpeechForm, TranscriptionForm
from shared.jobs import Endpoint

FIELDS = {
    "language": ["en"],
    "timestamp_granularities[]": ["word", "segment"],
    "response_format": ["verbose_json"],
    "temperature": ["0"],
}


def digest(
    fields: dict[str, list[str]],
    *,
    endpoint: Endpoint = Endpoint.SYNC,
    kind: type[SpeechForm] = TranscriptionForm,
) -> str:
    return parse_form(kind, fields).digest(endpoint, file_sha256="ab" * 32)


def test_the_spelling_and_order_of_fields_do_not_count() -> None:
    same = {
        "temperature": ["0.0"],
        "timestamp_granularities": ["segment,word"],
        "response_format": ["verbose_json"],
        "language": ["de", " en "],
        "prompt": [""],
        "unknown": ["1"],
    }
    assert digest(FIELDS) == digest(same)
    assert digest({}) == digest({"language": ["auto"], "response_format": ["json"]})


@pytest.mark.parametrize(
    ("field", "value"),
    [("language", "de"), ("prompt", "Anna"), ("temperature", "0.1"), ("timestamp_granularities[]", "word")],
)
def test_every_field_counts(field: str, value: str) -> None:
    assert digest(FIELDS) != digest(FIELDS | {field: [value]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metadata", '{"order": 18}'),
        ("metadata", '{"order": 17, "more": [1]}'),
        ("metadata", ""),
        ("webhook_url", "https://example.com/b"),
        ("response_format", "srt"),
        ("priority", "interactive"),
    ],
)
def test_every_field_of_a_job_counts(field: str, value: str) -> None:
    job = {"metadata": ['{"order": 17}'], "webhook_url": ["https://example.com/a"]}
    assert digest(job, kind=JobForm) == digest(job | {"metadata": [' {"order":17}']}, kind=JobForm)
    assert digest(job, kind=JobForm) != digest(job | {field: [value]}, kind=JobForm)


def test_the_endpoint_and_the_file_count() -> None:
    form = parse_form(JobForm, {})
    assert form.digest(Endpoint.JOBS, file_sha256="aa") != form.digest(Endpoint.STREAM, file_sha256="aa")
    assert form.digest(Endpoint.JOBS, file_sha256="aa") != form.digest(Endpoint.JOBS, file_sha256="ab")


def test_another_process_computes_the_same_digest() -> None:
    code = f"""
from api.intake.form_fields import parse_form
from api.intake.forms import TranscriptionForm
from shared.jobs import Endpoint
print(parse_form(TranscriptionForm, {FIELDS!r}).digest(Endpoint.SYNC, file_sha256="ab" * 32))
"""
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert done.stdout.decode().strip() == digest(FIELDS)
