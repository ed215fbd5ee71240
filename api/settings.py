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

from api.api_key_source import read_api_keys
from api.origins import parse_origins
from shared.backlog import QueueLimits
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

    min_audio_s: NonNegativeFloat = 0.1
    """The shortest audio that is accepted, in seconds, as at OpenAI; 0 accepts all that is not empty."""

    interactive_max_audio_s: NonNegativeFloat = 120.0
    """The longest audio, in seconds, that is served before batch jobs; longer files are batch by any door."""

    max_queued_jobs: PositiveInt = 1_000
    """How many jobs may wait in the queue: one more is answered with 429 and Retry-After. Jobs that run do
    not count."""

    max_queued_audio_s: PositiveFloat = 360_000.0
    """How many seconds of audio may wait in the queue, all jobs together; by default a hundred hours. Where
    nothing waits, one file is taken whatever its length."""

    idempotency_ttl_s: PositiveFloat = 86_400.0
    """Seconds for which an Idempotency-Key stands for the job that it was first sent with."""

    sync_wait_s: NonNegativeFloat = 0.0
    """Seconds that a synchronous call may wait in all, in the queue too; then it is answered with 504, and
    the job goes on under /v1/jobs. 0 means as long as it takes."""

    stream_resume_s: NonNegativeFloat = 15.0
    """Seconds after which a streamed transcription that nobody follows any more is cancelled."""

    heartbeat_s: PositiveFloat = 15.0
    """Seconds between the comments that keep a silent event stream open."""

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
    def queue_limits(self) -> QueueLimits:
        """How much may wait on this server."""
        return QueueLimits(self.max_queued_jobs, self.max_queued_audio_s)

    @property
    def model_alias_names(self) -> frozenset[str]:
        """The names in MODEL_ALIASES."""
        return frozenset(filter(None, map(str.strip, self.model_aliases.split(","))))
