"""What Schemathesis, in its own process, is told of this server: audio that is audio, and keys that differ.

SOURCE_URL is where audio can be fetched, and ANSWERS_FILE where it is told, as JSON, how often each operation
was answered with each status.
"""

import atexit
import json
import os
import re
import zlib
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.core.failures import Failure

from api.outbound.urls import MAX_URL_CHARACTERS
from tests.support.audio import make_tones, write_wav

_RECORDINGS = [write_wav(make_tones(seconds, seed=seed)) for seed, seconds in enumerate((0.12, 0.25, 1.0))]
_FOUND = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)
_PATHS = ("sound.wav", "sound.wav", "chunked.wav", "missing.wav", "text.wav")
_SCHEMES = ("http://", "https://")

# In a form, a number is a text as any other; and what was wrong with no field by name was the file.
_HARMLESS = re.compile(
    r"Invalid component: "
    r"(in header - |positive test case$|in body$"
    r"|in body - (model|prompt|keywords\[\]): Incorrect type"
    r"|in body - violates `type` at /properties/(model|prompt|keywords))",
    re.MULTILINE,
)

_VIOLATED = re.compile(r"in body - violates `\w+` at /properties/([^/\s]+)")

_FILTER = re.compile(r"metadata\[[^\[\]]+\]")

_answers: Counter[str] = Counter()
_deleted: set[str] = set()


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Put a recording in place of most made-up files, and its address in place of most made-up ones.

    An idempotency key is made to fit the form, or nearly all requests would be refused for it.
    """
    if not isinstance(case.body, dict):
        return
    form: dict[str, Any] = case.body
    number = zlib.crc32(repr(form).encode())
    if isinstance(form.get("file"), bytes | str) and number % 8:
        form["file"] = _RECORDINGS[number % len(_RECORDINGS)]
    url = form.get("url")
    if isinstance(url, str) and url.startswith(_SCHEMES) and len(url) <= MAX_URL_CHARACTERS and number % 8:
        form["url"] = f"{os.environ['SOURCE_URL']}/{_PATHS[number % len(_PATHS)]}"
    if case.headers and "Idempotency-Key" in case.headers and _is_valid(case):
        case.headers["Idempotency-Key"] = f"key {number % 4096}"


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Whether it is one: a header more does no harm, and a file that was replaced is no longer wrong."""
    is_unsent = "violates `oneOf`" in failure.message and _sends_one_source(case)
    is_plain = "`metadata` in query - violates" in failure.message and _sends_plain_filters(response)
    return not (_HARMLESS.search(failure.message) or is_unsent or is_plain or _is_absent(failure, case))


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """Count the answer."""
    _answers[f"{case.operation.label} {response.status_code}"] += 1


@schemathesis.check
def stays_deleted(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """A job that was deleted, which 204 says, is never found again; other answers to DELETE cancel it."""
    job_id = case.path_parameters.get("job_id") if case.path_parameters else None
    if job_id in _deleted:
        assert response.status_code not in _FOUND, (
            f"the job was deleted, and is answered {response.status_code}"
        )
    if case.method == "DELETE" and response.status_code == HTTPStatus.NO_CONTENT:
        _deleted.add(str(job_id))


def _sends_plain_filters(response: Response) -> bool:
    """Whether all filters are `metadata[KEY]=VALUE` as they are sent: the rest of what was wrong is lost."""
    query = parse_qsl(urlsplit(response.request.url or "").query, keep_blank_values=True)
    return all(_FILTER.fullmatch(name) for name, _ in query if name.startswith("metadata"))


def _sends_one_source(case: Case[Any]) -> bool:
    """Whether a form has just one of file and URL as it is sent: of an empty list, say, nothing is."""
    form: Any = case.body
    return isinstance(form, dict) and [bool(form.get(name)) for name in ("file", "url")].count(True) == 1


def _is_absent(failure: Failure, case: Case[Any]) -> bool:
    """Return whether the value that violates the schema is empty, which counts as absent in a form."""
    violated = _VIOLATED.search(failure.message)
    return violated is not None and isinstance(case.body, dict) and case.body.get(violated[1]) == ""


def _is_valid(case: Case[Any]) -> bool:
    return case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE


@atexit.register
def write_answers() -> None:
    """Tell what was counted."""
    Path(os.environ["ANSWERS_FILE"]).write_text(json.dumps(_answers))
