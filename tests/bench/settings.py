"""The settings of `make bench-reliability`."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Section(StrEnum):
    """The sections, each measured on a new server, in this order."""

    OVERHEAD = "overhead"  # of a synchronous call, without the engine
    LOSS = "loss"  # a worker is killed
    CANCEL = "cancel"  # running jobs are cancelled
    IDLE = "idle"  # a loaded model has no job
    LISTENERS = "listeners"  # thousands of listeners on one api process


class BenchSettings(BaseSettings):
    """Settings of `make bench-reliability`, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    only: str = ""
    """`overhead`, `loss`, `cancel`, `idle`, `listeners`: sections to measure, with commas; empty: all."""

    calls: PositiveInt = 300
    """The number of timed synchronous calls."""

    rounds: PositiveInt = 5
    """How often a worker is killed, a job is cancelled, and a model is left idle."""

    listeners: PositiveInt = 5_000
    """The number of listeners, each on its own job."""

    events_per_s: PositiveFloat = 200.0
    """Events per second, over all jobs."""

    events: NonNegativeInt = 10_000
    """The number of events in all."""

    lease_s: PositiveFloat = 3.0
    """The server's LEASE_S."""

    idle_timeout: PositiveFloat = 2.0
    """The server's IDLE_TIMEOUT in the section `idle`."""

    engine: Literal["whisper", "scripted"] = "whisper"
    """`whisper` also cancels jobs of Whisper, if its weights are installed; `scripted` does not."""

    report: Path | None = None
    """A file for the report, in Markdown."""

    @field_validator("only")
    @classmethod
    def _check_only(cls, given: str) -> str:
        for name in _split(given):
            Section(name)
        return given

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections to measure."""
        asked = _split(self.only) or tuple(Section)
        return tuple(section for section in Section if section in asked)


def _split(given: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, given.split(","))))
