"""What Redis holds of stream tokens: for each digest the job whose events it opens, for a while."""

from typing import Any

import msgspec

from shared.record.scripts import ScriptCall


class StreamGrant(msgspec.Struct, frozen=True):
    """What a token is for: the events of one job, for whoever the API key of that name let in."""

    job_id: str
    key_name: str


def keep_stream_token(digest: str, grant: StreamGrant, *, ttl_s: float) -> ScriptCall[bool]:
    """Know a token by its SHA-256, in hexadecimal digits, for `ttl_s` seconds."""
    ttl_ms = round(ttl_s * 1000)
    return ScriptCall("keep_stream_token", (digest, grant.job_id, grant.key_name, ttl_ms), bool)


def read_stream_token(digest: str) -> ScriptCall[StreamGrant | None]:
    """What the token with this SHA-256 is for; None where there is no such token, or no longer."""
    return ScriptCall("read_stream_token", (digest,), _parse_grant)


def _parse_grant(reply: Any) -> StreamGrant | None:
    return StreamGrant(*(part.decode() for part in reply)) if reply else None
