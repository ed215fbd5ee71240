"""Stream tokens: a page passes one as `?token=` to follow a job, since EventSource sends no Authorization."""

import re
import secrets
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from starlette.types import Scope

from api.access.record_reader import RecordReader
from api.errors.tree import IncorrectStreamToken
from shared.record.scripts import AsyncScriptRunner
from shared.record.stream_tokens import keep_stream_token, read_stream_token

_TOKEN_BYTES = 32
_PARAMETER = "token"
_EVENTS_PATH = re.compile(r"/v1/jobs/([^/]+)/events")


def take_token(scope: Scope) -> str | None:
    """Remove the token from the query of a request, and return it; None where there is none.

    The server shares the scope, so no later layer and no access log shows the token.
    """
    query: list[tuple[str, str]] = parse_qsl(
        scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True
    )
    tokens = [value for name, value in query if name == _PARAMETER]
    if not tokens:
        return None
    scope["query_string"] = urlencode([pair for pair in query if pair[0] != _PARAMETER]).encode()
    return tokens[0]


def find_followed_job(scope: Scope) -> str | None:
    """Return the job whose events a request asks for, the only use of a token; None for other requests."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return None
    matched = _EVENTS_PATH.fullmatch(scope["path"])
    return matched[1] if matched else None


class StreamTokens:
    """Issues tokens that are valid for `ttl_s` seconds. Redis stores only their digests."""

    def __init__(self, reader: RecordReader, runner: AsyncScriptRunner, *, ttl_s: float) -> None:
        self._reader = reader
        self._runner = runner
        self.ttl_s = ttl_s

    async def issue(self, job_id: str, *, key_name: str) -> str:
        """Return a new token for the events of a job that belongs to the API key of that name.

        Raises:
            QueueUnavailable: Redis does not answer, so the token cannot be stored.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        call = keep_stream_token(_digest(token), job_id, key_name=key_name, ttl_s=self.ttl_s)
        await self._runner.run(call)
        return token

    async def find_key_name(self, token: str, job_id: str) -> str:
        """Return the name of the API key for which `token` was issued.

        Raises:
            IncorrectStreamToken: the token was not issued for this job, or has expired.
            QueueUnavailable: Redis has not answered for long.
        """
        key_name = await self._reader.run(read_stream_token(_digest(token), job_id))
        if key_name is None:
            raise IncorrectStreamToken
        return key_name


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
