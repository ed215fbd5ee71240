"""The description of webhooks for /docs: the request to a `webhook_url`, and the meaning of its answer."""

import math
from collections.abc import Mapping
from typing import Any

from api.openapi.answers import refer
from api.schemas.jobs import JOB_ID_EXAMPLE, JobEndedBody
from api.settings import ApiSettings
from api.webhooks.retry_plan import JITTER, MAX_RETRY_AFTER_S, RetryPlan, Verdict, judge_status

_TIMEOUT_S: float = ApiSettings.model_fields["webhook_timeout_s"].default
_PLAN = RetryPlan(ApiSettings.model_fields["webhook_retries_s"].default)

_DESCRIPTION = f"""The request to the `webhook_url` of a job that has ended. It follows
[Standard Webhooks](https://www.standardwebhooks.com/).

It has no transcript: fetch the job at `data.url`, with the API key. The same webhook can arrive more than
once, with the same `webhook-id` and body. Webhooks of different jobs can arrive in any order.

The receiver must answer within WEBHOOK_TIMEOUT_S (by default {_TIMEOUT_S:g} s), the look-up of its host
included. Redirects are not followed. A time-out, a failed connection and a 5XX lead to further attempts,
after the waits of WEBHOOK_RETRIES_S, each varied by up to {JITTER:.0%}: by default there are
{_PLAN.max_attempts} attempts within {math.ceil(_PLAN.longest_s / 3600)} hours. The server gives up when the
job is deleted, and when the host has a private address that the server does not allow.

The job is kept for JOB_TTL_S after the last attempt. Its `deliveries` list all attempts."""

_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "webhook-id": {
        "description": "The id of the webhook: the same in each attempt, and different for each job.",
        "schema": {"type": "string", "pattern": "^msg_[0-9a-f]{32}$", "examples": [f"msg_{JOB_ID_EXAMPLE}"]},
    },
    "webhook-timestamp": {
        "description": "The time of the attempt, in seconds since 1970-01-01 in UTC. It is signed, so that "
        "receivers can refuse old webhooks.",
        "schema": {"type": "integer", "minimum": 0, "examples": [1768469408]},
    },
    "webhook-signature": {
        "description": "`v1,` and, in base64, the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`, "
        "with the body as received. The key is the part after `whsec_` in the secret of the API key, or "
        "else of the server, decoded from base64. Several signatures, separated by spaces, allow a change "
        "of the server's secret; one must match.",
        "schema": {
            "type": "string",
            "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$",
            "examples": ["v1,TMd0xUUfpGxUTR3vC5h3nK2mWJb0Yc8QeXo1vZs4iLA="],
        },
    },
    "user-agent": {
        "description": "The sender.",
        "schema": {"type": "string", "const": "qwen3-asr-server"},
    },
}

_MEANINGS = {
    Verdict.DELIVERED: "The receiver has it; it is not sent again.",
    Verdict.RETRY: "The receiver may take it later; it is sent again, up to the last attempt.",
    Verdict.REFUSED: "The receiver refuses it; it is not sent again. Webhooks of other jobs are still sent.",
}

# A status precedes its range. The number beside a range is one status of it.
_ANSWERS = {"2XX": 200, "3XX": 300, "408": 408, "429": 429, "4XX": 400, "5XX": 500}

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds or a date that delay the next attempt, by at most "
        f"{MAX_RETRY_AFTER_S:g} seconds. It never comes earlier than without this header.",
        "schema": {"type": "string", "examples": ["120", "Thu, 15 Jan 2026 09:35:00 GMT"]},
    }
}


def describe_webhooks() -> dict[str, Any]:
    """Return the webhooks of the server, by name."""
    operation = {
        "tags": ["jobs"],
        "summary": "A job has ended",
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
    verdict = judge_status(status)
    answer: dict[str, Any] = {"description": _MEANINGS[verdict]}
    if verdict is Verdict.RETRY:
        answer["headers"] = _RETRY_AFTER
    return answer
