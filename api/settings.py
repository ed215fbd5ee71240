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
    def model_alias_names(self) -> frozenset[str]:
        """The names in MODEL_ALIASES."""
        return frozenset(filter(None, map(str.strip, self.model_aliases.split(","))))
