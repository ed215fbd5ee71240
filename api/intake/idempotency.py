"""Idempotency keys: how clients send them, and what makes two requests the same."""

import json
import re
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Header

from api.intake.forms import SpeechForm
from shared.errors import InvalidRequest
from shared.jobs import Endpoint

HEADER = "Idempotency-Key"

_KEY = re.compile(r"[\x20-\x7e]{1,255}")

_MEANING = (
    "A name for this request, up to 255 printable ASCII characters: a UUID, for instance. Sent again with "
    "the same file and fields within IDEMPOTENCY_TTL_S, it is answered from the same job, with "
    "`Idempotent-Replayed: true`; with others, it is refused with 422. After a job was cancelled or deleted, "
    "or failed with `timeout`, `worker_lost`, `engine_crash` or `expired`, its key is free again. Who closes "
    "the connection does not cancel a job that came with a key."
)


async def _read_key(
    given: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description=_MEANING,
            examples=["3f0c6a52-6f0e-4d3c-9a55-1b7e3c6a9d10"],
            json_schema_extra={"pattern": "^[ -~]{1,255}$"},
        ),
    ] = None,
) -> str | None:
    """The digest of the client's key, or None.

    Raises:
        InvalidRequest: it is none.
    """
    if given is None:
        return None
    if not _KEY.fullmatch(given):
        raise InvalidRequest(f"{HEADER} must be 1 to 255 printable ASCII characters.", param=HEADER)
    return sha256(given.encode()).hexdigest()


IdempotencyKey = Annotated[str | None, Depends(_read_key)]


def digest_request(endpoint: Endpoint, form: SpeechForm, file_sha256: str) -> str:
    """The same for two requests that ask the same endpoint for the same, however their fields are put."""
    # Defaults are left out, so that a field which a later version adds does not make old requests others.
    asked = form.model_dump(exclude_defaults=True)
    canonical = json.dumps([endpoint, file_sha256, asked], sort_keys=True, default=sorted)
    return sha256(canonical.encode()).hexdigest()
