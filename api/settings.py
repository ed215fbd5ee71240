"""The settings of the api, on top of those it shares with the worker."""

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
)
from pydantic_settings import SettingsConfigDict

from api.access.api_key_source import read_api_keys
from api.access.origins import parse_origins
from api.access.signing_secrets import parse_server_secrets
from shared.record.backlog import QueueLimits
from shared.settings import SharedSettings


class ApiSettings(SharedSettings):
    """Settings of the api, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)  # it may be a key

    host: str = "127.0.0.1"
    """The address to listen on; `0.0.0.0` for all of this machine."""

    port: int = Field(default=8100, ge=0, le=65_535)
    """The TCP port to listen on."""

    listen_fd: NonNegativeInt | None = None
    """An inherited socket that listens already, used instead of HOST and PORT: it outlives a restart."""

    max_upload_bytes: PositiveInt = 2 << 30
    """The largest file that is accepted, in bytes."""

    url_input: bool = False
    """Whether `POST /v1/jobs` takes a `url` instead of a `file`, and fetches the audio from there."""

    url_fetch_timeout_s: float = Field(default=300.0, gt=0, le=3_600)
    """Seconds within which audio must have been fetched from a `url`, an hour at most; its client waits as
    long."""

    max_url_fetches: PositiveInt = 16
    """From how many URLs one api process fetches at once: one more waits for up to 5 s, and is then answered
    with 429 and Retry-After."""

    max_url_fetches_per_key: PositiveInt = 4
    """How many of them one API key may have; without API keys it does not count."""

    min_audio_s: NonNegativeFloat = 0.1
    """The shortest audio that is accepted, in seconds, as at OpenAI; 0 accepts all that is not empty."""

    interactive_max_audio_s: NonNegativeFloat = 120.0
    """The longest audio, in seconds, that is served before batch jobs; longer files are batch by any
    endpoint."""

    max_queued_jobs: PositiveInt = 1_000
    """How many jobs may wait in the queue: one more is answered with 429 and Retry-After. Jobs that run do
    not count. With several API keys a tenth of it is shared out among them."""

    max_queued_audio_s: PositiveFloat = 360_000.0
    """How many seconds of audio may wait in the queue, all jobs together; by default a hundred hours. Where
    nothing waits, one file is taken whatever its length. With several API keys a tenth of it is shared out
    among them."""

    idempotency_ttl_s: PositiveFloat = 86_400.0
    """Seconds for which an Idempotency-Key stands for the job that it was first sent with."""

    sync_wait_s: NonNegativeFloat = 0.0
    """Seconds that a synchronous call may wait in all, in the queue too; then it is answered with 504, and
    the job goes on under /v1/jobs. 0 means as long as it takes."""

    prefer_wait_max_s: NonNegativeInt = 50
    """Seconds that `Prefer: wait=N` on `POST /v1/jobs` waits at the most: less than the 60 after which many
    proxies give up."""

    stream_resume_s: NonNegativeFloat = 15.0
    """Seconds after which a streamed transcription that nobody follows any more, at any api process, is
    cancelled; 0 means at once."""

    heartbeat_s: PositiveFloat = 15.0
    """Seconds, at the most, between the comments that keep a silent event stream open."""

    max_streams: PositiveInt = 6_000
    """How many event streams may be open in one api process, by all endpoints together: one more is
    answered with 429 and Retry-After."""

    max_streams_per_key: PositiveInt = 1_000
    """How many of them one API key may have; without API keys it does not count."""

    stream_send_timeout_s: PositiveFloat = 30.0
    """Seconds after which a connection is cut whose client takes nothing of what is sent to it."""

    stream_token_ttl_s: PositiveFloat = 300.0
    """Seconds for which a stream can begin with a stream token; one that has begun goes on."""

    drain_s: NonNegativeInt = 5
    """Seconds that open requests get to end when the api is told to stop."""

    api_keys: SecretStr = SecretStr("")
    """The keys that clients must send, with commas between them, or `@` and the path of a file with one a
    line; see "API keys". Empty: whoever reaches the server may use it."""

    cors_origins: str = ""
    """The web pages that may call the server from a browser: origins such as `https://app.example.com`, with
    commas between them, or `*` for all. Empty: none."""

    model_aliases: str = "whisper-1,gpt-4o-transcribe,gpt-4o-mini-transcribe"
    """Names that stand for whatever model is served, with commas between them. Empty: none."""

    webhook_secret: SecretStr = SecretStr("")
    """The secret that signs webhooks: `whsec_` and 24 to 64 random bytes in base64. Several with commas
    between them all sign, for a change of secret. Empty: `make run` makes one; elsewhere `webhook_url` is
    refused."""

    webhook_timeout_s: PositiveFloat = 10.0
    """Seconds within which the receiver of a webhook must have answered, the look-up of its host included."""

    webhook_retries_s: str = "5,300,1800,7200,18000,36000,21600"
    """Seconds to wait after each failed attempt to deliver a webhook, with commas between them. Each varies
    by up to a fifth; the receiver's Retry-After can make it longer, up to an hour. The default makes eight
    attempts in about a day."""

    public_url: str = ""
    """The address at which clients reach the server, such as `https://asr.example.com`, for links in
    webhooks. Empty: links are paths."""

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, given: SecretStr) -> SecretStr:
        parse_server_secrets(given.get_secret_value())
        return given

    @field_validator("webhook_retries_s")
    @classmethod
    def _check_webhook_retries(cls, given: str) -> str:
        parse_waits_s(given)
        return given

    @field_validator("api_keys")
    @classmethod
    def _check_api_keys(cls, given: SecretStr) -> SecretStr:
        read_api_keys(given.get_secret_value())
        return given

    @field_validator("cors_origins")
    @classmethod
    def _check_cors_origins(cls, given: str) -> str:
        parse_origins(given)
        return given

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets in WEBHOOK_SECRET."""
        return parse_server_secrets(self.webhook_secret.get_secret_value())

    @property
    def webhook_waits_s(self) -> tuple[float, ...]:
        """The waits in WEBHOOK_RETRIES_S."""
        return parse_waits_s(self.webhook_retries_s)

    @property
    def queue_limits(self) -> QueueLimits:
        """How much may wait on this server."""
        return QueueLimits(self.max_queued_jobs, self.max_queued_audio_s)

    @property
    def model_alias_names(self) -> frozenset[str]:
        """The names in MODEL_ALIASES."""
        return frozenset(filter(None, map(str.strip, self.model_aliases.split(","))))


def parse_waits_s(setting: str) -> tuple[float, ...]:
    """Return the waits in WEBHOOK_RETRIES_S.

    Raises:
        ValueError: one of them is not a number of seconds above 0.
    """
    waits_s = tuple(float(wait) for wait in setting.split(",") if wait.strip())
    if not all(0 < wait_s < float("inf") for wait_s in waits_s):
        raise ValueError("each wait must be a number of seconds above 0")
    return waits_s
