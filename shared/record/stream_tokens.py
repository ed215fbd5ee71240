"""Stream tokens in Redis: for the digest of each token, the job whose events it opens."""

from typing import Any

from shared.record.keys import Key
from shared.record.scripts import PlainCall, to_ms


def keep_stream_token(digest: str, job_id: str, *, key_name: str, ttl_s: float) -> PlainCall[bool]:
    """Keep a token, by its SHA-256 in hexadecimal digits, for `ttl_s` seconds.

    It opens the events of one job, on behalf of the API key with this name.
    """
    token = Key.STREAM_TOKEN.of(digest)
    fields = ("job_id", job_id, "key_name", key_name)
    return PlainCall((("HSET", token, *fields), ("PEXPIRE", token, to_ms(ttl_s))), all)


def read_stream_token(digest: str, job_id: str) -> PlainCall[str | None]:
    """Read the name of the token's API key; None where it has expired, or opens no events of this job."""

    def parse(replies: list[Any]) -> str | None:
        opened, key_name = replies[0]
        return key_name.decode() if opened == job_id.encode() else None

    return PlainCall((("HMGET", Key.STREAM_TOKEN.of(digest), "job_id", "key_name"),), parse)
