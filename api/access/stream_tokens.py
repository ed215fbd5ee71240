"""Stream tokens: what a page passes as `?token=` to follow one job, as EventSource sends no Authorization."""

import re
import secrets
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from starlette.types import Scope

from api.errors.tree import IncorrectStreamToken
from api.streams.following import JobFollower
from shared.record.scripts import AsyncScriptRunner
from shared.record.stream_tokens import StreamGrant, keep_stream_token, read_stream_token

_TOKEN_BYTES = 32
_PARAMETER = "token"
_EVENTS_PATH = re.compile(r"/v1/jobs/([^/]+)/events")


def hide_token(scope: Scope) -> None:
    """Take the token out of the query of any request, so that nothing that shows an address shows it.

    The scope is that of the server too: its access log comes after this.
    """
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in query if name == _PARAMETER]
    if tokens:
        scope["query_string"] = urlencode([pair for pair in query if pair[0] != _PARAMETER]).encode()
        scope["state"]["stream_token"] = tokens[0]


def find_token(scope: Scope) -> str | None:
    """The token that a request came with."""
    token: str | None = scope.get("state", {}).get("stream_token")
    return token


def find_followed_job(scope: Scope) -> str | None:
    """The job whose events are asked for: the one thing that a token may be used for. None for all else."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    matched = _EVENTS_PATH.fullmatch(scope["path"])
    return matched[1] if matched else None


class StreamTokens:
    """Gives tokens out, and knows them for `ttl_s` seconds. Redis has no more of one than its digest."""

    def __init__(self, follower: JobFollower, runner: AsyncScriptRunner, *, ttl_s: float) -> None:
        self._follower = follower
        self._runner = runner
        self.ttl_s = ttl_s

    async def issue(self, job_id: str, *, key_name: str) -> str:
        """A new token for the events of a job that belongs to the API key of that name.

        Raises:
            QueueUnavailable: it cannot be kept.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        grant = StreamGrant(job_id, key_name)
        await self._runner.run(keep_stream_token(_digest(token), grant, ttl_s=self.ttl_s))
        return token

    async def find_key_name(self, token: str, job_id: str) -> str:
        """The name of the API key that let `token` follow the job.

        Raises:
            IncorrectStreamToken: nobody gave it out for this job, or that is too long ago.
            QueueUnavailable: Redis has not answered for long.
        """
        grant = await self._follower.run_patiently(read_stream_token(_digest(token)))
        if grant is None or grant.job_id != job_id:
            raise IncorrectStreamToken
        return grant.key_name


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
