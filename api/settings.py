"""The settings of the api, on top of those it shares with the worker."""

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from shared.settings import SharedSettings


class ApiSettings(SharedSettings):
    """Settings of the api, each from the environment variable of its name in capitals."""

    host: str = "127.0.0.1"
    """The address to listen on; `0.0.0.0` for all of this machine."""

    port: int = Field(default=8100, ge=0, le=65_535)
    """The TCP port to listen on."""

    listen_fd: NonNegativeInt | None = None
    """An inherited socket that listens already, used instead of HOST and PORT: it outlives a restart."""

    max_upload_bytes: PositiveInt = 2 << 30
    """The largest file that is accepted, in bytes."""

    interactive_max_audio_s: NonNegativeFloat = 120.0
    """The longest audio, in seconds, that is served before batch jobs; longer files are batch by any door."""

    stream_resume_s: NonNegativeFloat = 15.0
    """Seconds after which a streamed transcription that nobody follows any more is cancelled."""

    heartbeat_s: PositiveFloat = 15.0
    """Seconds between the comments that keep a silent event stream open."""

    drain_s: NonNegativeInt = 5
    """Seconds that open requests get to end when the api is told to stop."""
