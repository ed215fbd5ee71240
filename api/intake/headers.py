"""The request headers that decide how a job is taken in, and the refusal of a query.

The headers are Idempotency-Key, Prefer, and those with the timeouts of clients.
"""

import math
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Header, Request

from shared.errors import InvalidRequest

IDEMPOTENCY_KEY = "Idempotency-Key"

MIN_TIMEOUT_S = 1.0
MAX_TIMEOUT_S = 86_400.0
"""The bounds of a credible client timeout. The Node client rounds less than a second down to 0."""

# The Python client's wait for the next byte, and the Node client's timeout, in seconds.
_TIMEOUT_HEADERS = ("x-stainless-read-timeout", "x-stainless-timeout")

_KEY = re.compile(r"[\x20-\x7e]{1,255}")

_KEY_MEANING = (
    "A name of this request: 1 to 255 printable ASCII characters, for example a UUID. The same file and "
    "fields sent again with the same key within IDEMPOTENCY_TTL_S are answered from the same job, with "
    "`Idempotent-Replayed: true`. A different request with the same key is refused with 422. The key becomes "
    "free when its job is cancelled or deleted, or fails with `timeout`, `worker_lost`, `engine_crash` or "
    "`expired`. A job with a key is not cancelled when its client disconnects."
)

_WAIT_MEANING = (
    "`wait=N` delays the answer until the job ends, for N seconds and at most PREFER_WAIT_MAX_S. "
    "`Preference-Applied` shows the N that was used."
)

# Elements of a list; commas in quotes do not separate.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*(?:(\d{1,9})|"(\d{1,9})")\s*(?:;.*)?', re.IGNORECASE)


async def _read_key(
    given: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            description=_KEY_MEANING,
            examples=["3f0c6a52-6f0e-4d3c-9a55-1b7e3c6a9d10"],
            json_schema_extra={"pattern": "^[ -~]{1,255}$"},
        ),
    ] = None,
) -> str | None:
    """Return the digest of the client's idempotency key, or None without a key.

    Raises:
        InvalidRequest: the key is empty, too long, or not printable ASCII.
    """
    if given is None:
        return None
    if not _KEY.fullmatch(given):
        raise InvalidRequest(
            f"{IDEMPOTENCY_KEY} must be 1 to 255 printable ASCII characters.", param=IDEMPOTENCY_KEY
        )
    return sha256(given.encode()).hexdigest()


IdempotencyKey = Annotated[str | None, Depends(_read_key)]


def parse_wait(values: Iterable[str]) -> int | None:
    """Return the seconds of the first valid `wait` in the `Prefer` headers (RFC 7240), or None."""
    for preference in _PREFERENCE.findall(",".join(values)):
        if matched := _WAIT.fullmatch(preference):
            return int(matched[1] or matched[2])
    return None


async def _read_wait(
    request: Request,
    _prefer: Annotated[
        str | None, Header(alias="Prefer", description=_WAIT_MEANING, examples=["wait=30"])
    ] = None,
) -> int | None:
    return parse_wait(request.headers.getlist("prefer"))


PreferredWait = Annotated[int | None, Depends(_read_wait)]
"""The seconds that the client prefers to wait, or None."""


def refuse_query(request: Request) -> None:
    """Raise InvalidRequest if the request has a query. Options are fields of the form."""
    name = next(iter(request.query_params), None)
    if name is not None:
        shown = name[:100]
        raise InvalidRequest(
            f"This endpoint takes no query parameters. Send {shown} as a field of the form, or omit it.",
            param=shown,
        )


def read_client_timeout(headers: Mapping[str, str]) -> float:
    """Return the seconds that an OpenAI client waits; infinite without a credible header."""
    return min(_parse_timeout(headers.get(name, "")) for name in _TIMEOUT_HEADERS)


def _parse_timeout(text: str) -> float:
    try:
        timeout_s = float(text)
    except ValueError:
        return math.inf
    return timeout_s if MIN_TIMEOUT_S <= timeout_s <= MAX_TIMEOUT_S else math.inf
