"""The settings of the api, in addition to those that it shares with the worker."""

import math
import os
import re
import stat
from contextlib import suppress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from api.access.api_keys import read_api_keys
from api.access.signing_secrets import parse_server_secrets
from shared.record.backlog import QueueLimits
from shared.settings import SharedSettings

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,*?#@A-Z]+")


def _split(setting: str) -> tuple[str, ...]:
    """Return the parts of a setting between commas, without the empty ones."""
    return tuple(part for given in setting.split(",") if (part := given.strip()))


def parse_waits_s(setting: str) -> tuple[float, ...]:
    """Return the waits in WEBHOOK_RETRIES_S.

    Raises:
        ValueError: one of them is not a number of seconds above 0.
    """
    return tuple(map(_parse_wait_s, _split(setting)))


def _parse_wait_s(wait: str) -> float:
    with suppress(ValueError):
        if 0 < (wait_s := float(wait)) < math.inf:
            return wait_s
    raise ValueError(f"{wait!r} is not a number of seconds above 0")


def parse_origins(setting: str) -> tuple[str, ...]:
    """Return the origins between the commas of CORS_ORIGINS, or `*` alone.

    Raises:
        ValueError: a part is not an origin.
    """
    origins = _split(setting)
    wrong = next((origin for origin in origins if not _ORIGIN.fullmatch(origin)), None)
    if wrong is not None and origins != ("*",):
        raise ValueError(
            f"{wrong!r} is not an origin. Write `*` alone, or origins such as https://app.example.com:8443, "
            "in lower case and without a path or a slash at the end"
        )
    return origins


class ApiSettings(SharedSettings):
    """Settings of the api. The environment variable of each is its name in capitals."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)  # errors must not show keys

    host: str = "127.0.0.1"
    """The address to listen on. By default only this machine can reach it. `0.0.0.0` means all its addresses;
    set API_KEYS before."""

    port: int = Field(default=8100, ge=0, le=65_535)
    """The TCP port to listen on. 0 means any free port."""

    listen_fd: NonNegativeInt | None = None
    """An inherited listening socket, used instead of HOST and PORT. It outlives a restart of the api. Only an
    api that is started by hand reads it; `make run` and `qwen3-asr up` open a socket of their own."""

    max_upload_bytes: PositiveInt = 2 << 30
    """Bytes of the largest file that is accepted."""

    url_input: bool = False
    """Accept a `url` instead of a `file` in `POST /v1/jobs`, and fetch the audio from there."""

    url_fetch_timeout_s: float = Field(default=300.0, gt=0, le=3_600)
    """Seconds that fetching the audio of a `url` may take. The client waits for it. An hour at most."""

    max_url_fetches: PositiveInt = 16
    """The number of URLs that one api process fetches at once. A further request waits up to 5 s, and then
    gets 429 with Retry-After."""

    max_url_fetches_per_key: PositiveInt = 4
    """The number of these fetches that one API key may have. It has no effect without API keys."""

    min_audio_s: NonNegativeFloat = 0.1
    """Seconds of the shortest audio that is accepted; the default is OpenAI's limit. 0 accepts all audio that
    is not empty."""

    interactive_max_audio_s: NonNegativeFloat = 120.0
    """Seconds of the longest audio that is served before batch jobs. Longer files are batch jobs at every
    endpoint."""

    max_queued_jobs: PositiveInt = 1_000
    """The number of jobs that may wait in the queue. A further request gets 429 with Retry-After. Running
    jobs do not count. With several API keys, a tenth is reserved and shared out among them."""

    max_queued_audio_s: PositiveFloat = 360_000.0
    """Seconds of audio that may wait in the queue, all jobs together. An empty queue accepts one file of any
    length. With several API keys, a tenth is reserved and shared out among them."""

    idempotency_ttl_s: PositiveFloat = 86_400.0
    """Seconds for which an Idempotency-Key stands for its first job."""

    sync_wait_s: NonNegativeFloat = 0.0
    """Seconds that a synchronous call may take, with its wait in the queue. Then it gets 504, and the job
    goes on under /v1/jobs. 0 means no limit."""

    prefer_wait_max_s: NonNegativeInt = 50
    """The longest `Prefer: wait=N` on `POST /v1/jobs`, in seconds. Many proxies give up after 60 seconds. 0
    means that the answer never waits."""

    stream_resume_s: NonNegativeFloat = 15.0
    """Seconds until a streamed transcription without a listener is cancelled. 0 means at once."""

    heartbeat_s: PositiveFloat = 15.0
    """Seconds between two comments that keep a silent event stream open, at most."""

    max_streams: PositiveInt = 6_000
    """The number of event streams that one api process serves at once, at all endpoints together. A further
    request gets 429 with Retry-After."""

    max_streams_per_key: PositiveInt = 1_000
    """The number of these streams that one API key may have. It has no effect without API keys."""

    stream_send_timeout_s: PositiveFloat = 30.0
    """Seconds until the connection of a client that reads nothing is cut."""

    stream_token_ttl_s: PositiveFloat = 300.0
    """Seconds for which a stream token can start a stream. An open stream goes on."""

    drain_s: NonNegativeInt = 5
    """Seconds that open requests get when the api stops. 0 means none."""

    api_keys: SecretStr = SecretStr("")
    """The keys that clients must send, separated by commas, or `@` and the path of a file with one key per
    line. Empty: the server is open to every client."""

    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_origins)] = ()
    """The origins whose web pages may call the server from a browser, such as `https://app.example.com`,
    separated by commas, or `*` for all. Empty: none."""

    model_aliases: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = (
        *("whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"),
        *("gpt-*transcribe-20??-??-??", "whisper-large-*", "openai/whisper-large-*", "Systran/faster-*"),
    )
    """Names that stand for any model of the server, separated by commas. In a pattern, `*` means any
    characters, and `?` one. `/v1/models` lists names, and no patterns. Empty: none."""

    webhook_secret: SecretStr = SecretStr("")
    """The secret that signs webhooks: `whsec_` and 24 to 64 random bytes in base64. Several with commas
    between them all sign, for a change of secret. Empty: `make run` makes one; elsewhere `webhook_url` is
    refused."""

    webhook_timeout_s: PositiveFloat = 10.0
    """Seconds within which the receiver of a webhook must have answered, the look-up of its host included."""

    webhook_retries_s: Annotated[tuple[float, ...], NoDecode, BeforeValidator(parse_waits_s)] = (
        *(5, 300, 1_800, 7_200, 18_000, 36_000, 21_600),
    )
    """Seconds to wait after each failed attempt to deliver a webhook, with commas between them. Each varies
    by up to a fifth; the receiver's Retry-After can make it longer, up to an hour. The default makes eight
    attempts in about a day."""

    public_url: str = ""
    """The address at which clients reach the server, such as `https://asr.example.com`, for links in
    webhooks. Empty: links are paths."""

    @field_validator("webhook_secret", "api_keys")
    @classmethod
    def _check_syntax(cls, given: SecretStr, info: ValidationInfo) -> SecretStr:
        parse = parse_server_secrets if info.field_name == "webhook_secret" else read_api_keys
        parse(given.get_secret_value())
        return given

    @field_validator("listen_fd")
    @classmethod
    def _check_descriptor(cls, given: int) -> int:
        try:
            is_socket = stat.S_ISSOCK(os.fstat(given).st_mode)
        except OSError:
            is_socket = False
        if not is_socket:
            raise ValueError("no socket is open at this descriptor")
        return given

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, given: str) -> str:
        parts = urlsplit(given)
        if given and not (parts.scheme in ("http", "https") and parts.hostname):
            raise ValueError("it should begin with http:// or https:// and name a host")
        return given

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """Return the secrets in WEBHOOK_SECRET."""
        return parse_server_secrets(self.webhook_secret.get_secret_value())

    @property
    def queue_limits(self) -> QueueLimits:
        """Return the limits of the queue."""
        return QueueLimits(self.max_queued_jobs, self.max_queued_audio_s)
