"""The settings that api and worker share. Only the settings classes read the environment."""

from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeFloat, PositiveFloat, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SharedSettings(BaseSettings):
    """Settings of both sides. The environment variable of each is its name in capitals."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        validate_default=False,
        allow_inf_nan=False,
    )

    redis_url: str = "redis://127.0.0.1:6379/0"
    """The Redis or Valkey (6.2 or newer) that holds the jobs: `redis://`, `rediss://` or `unix://`. If it is
    not set, `make run` starts a private one."""

    data_dir: Path = Path("data")
    """The folder for uploads, model weights and, with `make run`, jobs. Only its owner can read a new one."""

    lease_s: PositiveFloat = 30.0
    """Seconds until a silent worker loses its job to another worker."""

    queue_ttl_s: NonNegativeFloat = 86_400.0
    """Seconds until a job that no worker has started fails as `expired`. 0 means never."""

    job_ttl_s: PositiveFloat = 86_400.0
    """Seconds that a finished job and its transcript are kept, counted from the end of its webhook
    delivery if it has one. `DELETE` removes them at once."""

    max_audio_s: PositiveFloat = 43_200.0
    """Seconds of the longest audio that is accepted."""

    decoder_memory_bytes: int = Field(default=512 << 20, gt=0)
    """Bytes of memory that the sandboxed decoder of one upload may use."""

    decoder_cpu_s: PositiveFloat = 900.0
    """Seconds of CPU time that the sandboxed decoder of one upload may use."""

    probe_timeout_s: PositiveFloat = 30.0
    """Seconds that the examination of an upload may take. After half of that time, counting stops and the
    declared duration is accepted."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level of log lines to write: DEBUG, INFO, WARNING or ERROR."""

    upload_ttl_s: NonNegativeFloat = 3_600.0
    """Seconds that audio is kept after its upload, and longer while its job is queued or running. 0 means
    until a minute after the job has ended. JOB_TTL_S has no effect on it. `DELETE` removes audio at once."""

    allow_private_addresses: bool = False
    """Allow clients to name webhook and audio URLs with private addresses, such as this machine and its
    network. Use it only if all clients are trusted."""

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, given: str) -> str:
        if not given.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("it should begin with redis://, rediss:// or unix://")
        _ = urlsplit(given).port  # it raises ValueError if the port is not a number up to 65535
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _ignore_case(cls, given: object, info: ValidationInfo) -> object:
        """Return the spelling of a value that the field lists, for that value in upper or lower case."""
        listed = _list_values(cls.model_fields[info.field_name or ""].annotation)
        return next((value for value in listed if value.lower() == str(given).lower()), given)

    @property
    def uploads_dir(self) -> Path:
        """Return the folder for uploads."""
        return self.data_dir / "uploads"

    @property
    def models_dir(self) -> Path:
        """Return the folder for model weights."""
        return self.data_dir / "models"


def _list_values(kind: Any) -> list[str]:
    """Return the values that a type lists: those of an enumeration, a Literal, or a union of them."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [member.value for member in kind]
    parts = get_args(kind)
    return [value for part in parts for value in ([part] if isinstance(part, str) else _list_values(part))]
