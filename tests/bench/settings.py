"""The settings of `make bench-reliability`."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Section(StrEnum):
    """What is measured, each on a server of its own, in this order."""

    OVERHEAD = "overhead"  # what a synchronous call costs beside the engine
    LOSS = "loss"  # a worker is killed
    CANCEL = "cancel"  # running jobs are cancelled
    IDLE = "idle"  # nothing is asked of a loaded model
    LISTENERS = "listeners"  # thousands of listeners on one api process


class BenchSettings(BaseSettings):
    """Settings of `make bench-reliability`, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    only: str = ""
    """Which of the sections `overhead`, `loss`, `cancel`, `idle` and `listeners`, with commas; empty: all."""

    calls: PositiveInt = 300
    """How many synchronous calls are timed."""

    rounds: PositiveInt = 5
    """How often a worker is killed, a job cancelled, and a model left idle."""

    listeners: PositiveInt = 5_000
    """How many listeners there are, each on a job of its own."""

    events_per_s: PositiveFloat = 200.0
    """How many events are published in a second, over all jobs."""

    events: NonNegativeInt = 10_000
    """How many events are published in all."""

    lease_s: PositiveFloat = 3.0
    """The server's LEASE_S."""

    idle_timeout: PositiveFloat = 2.0
    """The server's IDLE_TIMEOUT, where a model is left idle."""

    engine: Literal["whisper", "scripted"] = "whisper"
    """`whisper`: cancel jobs of that engine too, where its weights are installed; `scripted`: do not."""

    report: Path | None = None
    """Where the report goes as Markdown, besides the terminal."""

    @field_validator("only")
    @classmethod
    def _check_only(cls, given: str) -> str:
        for name in _split(given):
            Section(name)
        return given

    @property
    def sections(self) -> tuple[Section, ...]:
        """What is to be measured."""
        asked = _split(self.only) or tuple(Section)
        return tuple(section for section in Section if section in asked)


def _split(given: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, given.split(","))))
