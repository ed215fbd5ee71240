"""The settings of `make chaos`."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class DiskFullBy(StrEnum):
    """How the disk is made full."""

    AUTO = "auto"  # a tmpfs where the machine permits it, else a limit
    TMPFS = "tmpfs"  # uploads and Redis are on a tmpfs in a user namespace that is shrunk to what it holds
    LIMIT = "limit"  # the api is started again with RLIMIT_FSIZE, which hits uploads alone


class ChaosSettings(BaseSettings):
    """Settings of `make chaos`, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    jobs: PositiveInt = 300
    """How many jobs are submitted."""

    faults: NonNegativeInt = 12
    """How many faults are drawn; from 11 on there is at least one of each kind."""

    seed: NonNegativeInt = 1
    """What the audio and the faults are drawn from."""

    pool: Literal["solo"] = "solo"
    """Celery's pool in the workers. Only `solo` is there: a worker does one job at a time, on a thread of its
    own and with its model in a process of its own; processes or threads of Celery's around that would add
    nothing but parts that can be lost, and their time limits do not end a model."""

    engine: Literal["scripted", "whisper"] = "scripted"
    """`scripted` checks each word against the audio; `whisper` transcribes the clips in tests/audio."""

    lease_s: PositiveFloat = Field(default=3.0, ge=1.0)
    """The server's LEASE_S."""

    report: Path | None = None
    """Where the report goes as Markdown, besides the terminal."""

    disk_full_by: DiskFullBy = DiskFullBy.AUTO
    """`tmpfs`, `limit`, or `auto`."""
