"""How callbacks are described in /docs: what a `webhook_url` is sent, and how its answer is read."""

import math
from collections.abc import Mapping
from typing import Any

from api.openapi.answers import refer
from api.schemas.jobs import JOB_ID_EXAMPLE
from api.schemas.webhooks import JobEndedBody
from api.settings import ApiSettings, parse_waits_s
from api.webhooks.retry_plan import JITTER, MAX_RETRY_AFTER_S, RetryPlan, Verdict, judge_status

_TIMEOUT_S: float = ApiSettings.model_fields["webhook_timeout_s"].default
_PLAN = RetryPlan(parse_waits_s(ApiSettings.model_fields["webhook_retries_s"].default))

_DESCRIPTION = f"""A job that was submitted with a `webhook_url` has ended: that address is told so, by the
[Standard Webhooks](https://www.standardwebhooks.com/) convention.

The transcript is not in it: fetch the job, at the address in `data.url`, with the API key. The same callback
can come more than once, always with the same `webhook-id` and body; those of two jobs can come in any order.

The receiver has WEBHOOK_TIMEOUT_S (by default {_TIMEOUT_S:g} s) to answer, from the look-up of its name on.
Of its answer no more than status and Retry-After is read, and no redirect is followed. Where it is silent for
so long, the connection fails or its name is not found, the callback is sent again, as after a 5XX. The waits
between two tries are those of WEBHOOK_RETRIES_S, each longer or shorter by up to {JITTER:.0%}: by
default there are {_PLAN.max_attempts} attempts within {math.ceil(_PLAN.longest_s / 3600)} hours. It is given
up at once where the host has an address that is not public, unless the server allows that, and when the job
is deleted.

The job is kept until that has come to an end, and JOB_TTL_S longer.

`deliveries` of the job say how each try went, and when the next one is due."""

_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "webhook-id": {
        "description": "Tells a callback that came before: the same at each try, another one for each job.",
        "schema": {"type": "string", "pattern": "^msg_[0-9a-f]{32}$", "examples": [f"msg_{JOB_ID_EXAMPLE}"]},
    },
    "webhook-timestamp": {
        "description": "When this try began, in seconds since 1970-01-01 in UTC; it is signed, so that old "
        "callbacks can be refused.",
        "schema": {"type": "integer", "minimum": 0, "examples": [1768469408]},
    },
    "webhook-signature": {
        "description": "`v1,` and, in base64, the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`, "
        "with the body as it came. The key is what stands behind `whsec_` in the secret of the API key, or "
        "else of the server, decoded from base64. While the secret of the server is changed there are "
        "several signatures, with spaces between them: one must be right.",
        "schema": {
            "type": "string",
            "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$",
            "examples": ["v1,TMd0xUUfpGxUTR3vC5h3nK2mWJb0Yc8QeXo1vZs4iLA="],
        },
    },
    "user-agent": {
        "description": "Which program sends it.",
        "schema": {"type": "string", "const": "qwen3-asr-server"},
    },
}

_MEANINGS = {
    Verdict.DELIVERED: "The receiver has it: this callback is not sent again.",
    Verdict.RETRY: "The receiver may take it later: it is sent again, as long as there are tries left.",
    Verdict.REFUSED: "The receiver will never take it: this callback is not sent again; those of others are.",
}

# What is said of a status goes before what is said of its range; the status beside a range stands for it.
_ANSWERS = {"2XX": 200, "3XX": 300, "408": 408, "429": 429, "4XX": 400, "5XX": 500}

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait, or the date to wait for: the next try is put off until then, by "
        f"{MAX_RETRY_AFTER_S:g} seconds at the most, and never comes earlier than without it.",
        "schema": {"type": "string", "examples": ["120", "Thu, 15 Jan 2026 09:35:00 GMT"]},
    }
}


def describe_webhooks() -> dict[str, Any]:
    """What the server sends by itself, by name."""
    operation = {
        "tags": ["jobs"],
        "summary": "Job Ended",
        "description": _DESCRIPTION,
        "operationId": "job_ended",
        "parameters": [
            {"name": name, "in": "header", "required": True, **header} for name, header in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": _describe_content()}},
        "responses": {key: _describe_answer(status) for key, status in _ANSWERS.items()},
    }
    return {"job.ended": {"post": operation}}


def _describe_content() -> dict[str, Any]:
    timeout = {"code": "timeout", "message": "Inference took longer than the deadline of the job."}
    bodies = [_compose("succeeded"), _compose("failed", timeout), _compose("cancelled")]
    return {
        "schema": refer(JobEndedBody),
        "examples": {body["type"]: {"value": body} for body in bodies},
    }


def _compose(state: str, error: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {
        "type": f"job.{state}",
        "timestamp": "2026-01-15T09:30:07.800000Z",
        "data": {
            "id": JOB_ID_EXAMPLE,
            "state": state,
            "url": f"https://asr.example.com/v1/jobs/{JOB_ID_EXAMPLE}",
            "error": error,
            "metadata": {"order": 17},
        },
    }


def _describe_answer(status: int) -> dict[str, Any]:
    fate = judge_status(status)
    answer: dict[str, Any] = {"description": _MEANINGS[fate]}
    if fate is Verdict.RETRY:
        answer["headers"] = _RETRY_AFTER
    return answer
