"""Stream tokens in Redis: for the digest of each token, the job whose events it opens."""

from typing import Any

import msgspec

from shared.record.keys import Key
from shared.record.scripts import PlainCall, to_ms


class StreamGrant(msgspec.Struct, frozen=True):
    """The rights of a token: the events of one job, on behalf of the API key with this name."""

    job_id: str
    key_name: str


def keep_stream_token(digest: str, grant: StreamGrant, *, ttl_s: float) -> PlainCall[bool]:
    """Keep a token, by its SHA-256 in hexadecimal digits, for `ttl_s` seconds."""
    token = Key.STREAM_TOKEN.of(digest)
    fields = ("job_id", grant.job_id, "key_name", grant.key_name)
    return PlainCall((("HSET", token, *fields), ("PEXPIRE", token, to_ms(ttl_s))), all)


def read_stream_token(digest: str) -> PlainCall[StreamGrant | None]:
    """Read the rights of the token with this SHA-256; None where the token is unknown or has expired."""

    def parse(replies: list[Any]) -> StreamGrant | None:
        job_id, key_name = replies[0]
        return StreamGrant(job_id.decode(), key_name.decode()) if job_id else None

    return PlainCall((("HMGET", Key.STREAM_TOKEN.of(digest), "job_id", "key_name"),), parse)
