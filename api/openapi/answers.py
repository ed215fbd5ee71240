"""Descriptions of successful answers for /docs: their headers, links and plain texts."""

from typing import Any

from pydantic import BaseModel

from api.schemas.jobs import JOB_ID_EXAMPLE, JobBody

REFERENCE = "#/components/schemas/{model}"

REQUEST_ID_HEADER = {
    "X-Request-Id": {
        "description": "The id of the request in the server's log: its own `X-Request-Id`, or a new one.",
        "schema": {"type": "string", "examples": ["4be0643f1d98573b97cdca98a65347dd"]},
    }
}

JOB_ID_HEADER = {
    "X-Job-Id": {
        "description": "The id of the job. Errors have it if there is a job.",
        "schema": {"type": "string", "examples": [JOB_ID_EXAMPLE]},
    }
}

SUBMIT_HEADERS = {
    **JOB_ID_HEADER,
    "X-Ignored-Fields": {
        "description": "The fields that this endpoint ignored, separated by commas; otherwise absent.",
        "schema": {"type": "string", "examples": ["langauge, vad_filter"]},
    },
    "Idempotent-Replayed": {
        "description": "`true` if the `Idempotency-Key` already had a job; otherwise absent.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

_TRANSCRIPT_HEADERS = {
    **JOB_ID_HEADER,
    "X-Engine": {
        "description": "The engine that transcribed the audio.",
        "schema": {"type": "string", "examples": ["qwen3"]},
    },
    "X-Model": {
        "description": "The model of the engine. Characters outside ASCII are percent-encoded.",
        "schema": {"type": "string", "examples": ["Qwen/Qwen3-ASR-1.7B"]},
    },
    "X-Transcript-Complete": {
        "description": "`false` if speech may be missing from the text; otherwise absent.",
        "schema": {"type": "string", "enum": ["false"]},
    },
    "X-Transcript-Warnings": {
        "description": "The number of warnings about the transcript; absent without warnings.",
        "schema": {"type": "integer", "minimum": 1, "examples": [1]},
    },
}

_NEW_JOB_HEADERS = {
    "Location": {
        "description": "The path of the job.",
        "schema": {"type": "string", "pattern": "^/v1/jobs/", "examples": [f"/v1/jobs/{JOB_ID_EXAMPLE}"]},
    },
    "Preference-Applied": {
        "description": "`wait=N` after a request with `Prefer: wait`: the seconds that were used.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$", "examples": ["wait=50"]},
    },
    **SUBMIT_HEADERS,
}

_JOB_OPERATIONS = {
    "read_one_job": "The job.",
    "read_transcript": "Its transcript, after it has succeeded.",
    "follow_job": "Its events.",
    "create_stream_token": "A token for its events.",
    "delete_one_job": "Cancel or delete it.",
}

_JOB_LINKS = {
    name: {"operationId": name, "parameters": {"job_id": "$response.body#/id"}, "description": meaning}
    for name, meaning in _JOB_OPERATIONS.items()
}

_FORMATS = "an object for `json` and `verbose_json`, plain text for `text`, `srt` and `vtt`"

_PLAIN_TEXT = {"text/plain": {"schema": {"type": "string", "examples": ["Good morning.\n"]}}}


def refer(kind: type[BaseModel]) -> dict[str, Any]:
    """Return a reference to the schema of a body."""
    return {"$ref": REFERENCE.format(model=kind.__name__)}


def describe_transcription(stream: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return the response of a synchronous transcription; `stream` is the content with `stream=true`."""
    description = (
        f"The transcript: {_FORMATS}. With `stream=true`, unnamed events: each `transcript.text.delta` has "
        "text to append, one `transcript.text.done` has the whole text, and the last event is `[DONE]` (not "
        'JSON). A failure ends the stream with `{"error": {...}}`. A stream has no headers about the '
        "transcript."
    )
    headers = {**SUBMIT_HEADERS, **_TRANSCRIPT_HEADERS}
    return {200: {"description": description, "content": {**_PLAIN_TEXT, **stream}, "headers": headers}}


def describe_transcript() -> dict[int | str, dict[str, Any]]:
    """Return the response with the transcript of a job."""
    description = (
        f"The transcript as `POST /v1/audio/transcriptions` returns it: {_FORMATS}. Word timestamps require "
        "that the job was submitted with `return_timestamps` or `timestamp_granularities[]=word`. With "
        "`partial=true`, a job that has not succeeded answers with the transcript of its finished windows; "
        "`duration` and `usage` are those of the whole audio."
    )
    return {200: {"description": description, "content": _PLAIN_TEXT, "headers": _TRANSCRIPT_HEADERS}}


def describe_new_job() -> dict[int | str, dict[str, Any]]:
    """Return the responses with a new job."""
    more = {"model": JobBody, "headers": _NEW_JOB_HEADERS, "links": _JOB_LINKS}
    return {
        200: {"description": "With `Prefer: wait=N`: the job has ended within that time.", **more},
        202: {"description": "The job is queued, or has moved on since.", **more},
    }


def describe_page() -> dict[int | str, dict[str, Any]]:
    """Return the response with a page of jobs."""
    following = {
        "operationId": "list_all_jobs",
        "parameters": {"after": "$response.body#/next_cursor"},
        "description": "The next page, if `has_more`.",
    }
    return {200: {"description": "A page of jobs.", "links": {"list_all_jobs": following}}}
