"""The settings of `make chaos`."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class DiskFullBy(StrEnum):
    """A way to fill the disk."""

    AUTO = "auto"  # a tmpfs if the machine permits it, else a limit
    TMPFS = "tmpfs"  # uploads and Redis are on a tmpfs in a user namespace, which shrinks to its content
    LIMIT = "limit"  # the api restarts with RLIMIT_FSIZE, which affects only uploads


class ChaosSettings(BaseSettings):
    """Settings of `make chaos`, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    jobs: PositiveInt = 300
    """The number of jobs."""

    faults: NonNegativeInt = 12
    """The number of faults; from 11 on, there is at least one of each kind."""

    seed: NonNegativeInt = 1
    """The seed of the audio and the faults."""

    rows: PositiveInt = 8
    """The windows in a batch of a worker. With `whisper`, any number above 1 means its own choice, 4."""

    doomed: NonNegativeInt = 3
    """The number of jobs that must not succeed, of each kind; see `Ending`. Only `scripted` has them."""

    pool: Literal["solo"] = "solo"
    """Celery's pool in the workers. Only `solo` exists: a worker runs one job at a time, with its model in a
    separate process. Celery's own processes or threads would only add parts that can be lost."""

    engine: Literal["scripted", "whisper"] = "scripted"
    """`scripted` checks each word against the audio; `whisper` transcribes the clips in tests/audio."""

    lease_s: PositiveFloat = Field(default=3.0, ge=1.0)
    """The server's LEASE_S."""

    report: Path | None = None
    """A file for the report, in Markdown."""

    disk_full_by: DiskFullBy = DiskFullBy.AUTO
    """`tmpfs`, `limit`, or `auto`."""
