"""The settings of `qwen3-asr up`, and the environment of its parts."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError, field_validator

from api.settings import ApiSettings
from cli.up.errors import CannotStart
from shared.faults import explain_fault
from worker.engines.catalog import EngineName
from worker.settings import WorkerSettings, find_given_name

BAD_SETTING_EXIT_CODE = 2

SECRETS = frozenset({"API_KEYS", "WEBHOOK_SECRET"})
"""Settings that are never shown, and that only the api gets."""


class LocalServerSettings(ApiSettings, WorkerSettings):
    """Settings of `make run`: all that its parts read, and its own."""

    redis_fsync: Literal["everysec", "always"] = "everysec"
    """How often the private Redis forces jobs to disk: a power cut loses one second, or (slower) nothing."""

    @field_validator("engine", mode="before")
    @classmethod
    def _check_engine(cls, wanted: str) -> str:
        names = ("auto", *EngineName)
        if wanted.lower() not in names:
            raise CannotStart(
                f"ENGINE={wanted} does not exist in this version. Choose one of {', '.join(names)}.",
                exit_code=BAD_SETTING_EXIT_CODE,
            )
        return wanted

    @field_validator("whisper_model", "model_id")
    @classmethod
    def _check_model(cls, model: str) -> str:
        """Refuse what is clearly a path and leads to no folder; only the hub knows which names exist."""
        if model.startswith(("/", ".", "~")) and not Path(model).is_dir():
            raise ValueError("there is no such folder")
        return model

    @property
    def needs_keys(self) -> bool:
        """Whether clients must send one of API_KEYS."""
        return bool(self.api_keys.get_secret_value().strip())

    @property
    def data_folder(self) -> Path:
        """DATA_DIR as an absolute path."""
        return self.data_dir.absolute()

    @property
    def running_redis_url(self) -> str | None:
        """REDIS_URL, or None if it is not set and a private Redis is started."""
        return self.redis_url if "redis_url" in self.model_fields_set else None


def read_settings() -> LocalServerSettings:
    """Return the settings in the environment.

    Raises:
        CannotStart: a setting has an invalid value.
    """
    try:
        return LocalServerSettings()
    except ValidationError as problem:
        first = problem.errors()[0]
        name = find_given_name(str(first["loc"][0]).upper())
        given = "" if name in SECRETS else f"={first['input']}"
        # A secret gets no cause: a traceback would show it.
        raise CannotStart(f"{name}{given}: {explain_fault(first)}.", exit_code=BAD_SETTING_EXIT_CODE) from (
            None if name in SECRETS else problem
        )


def parts_environment(settings: LocalServerSettings, *, redis_url: str) -> Mapping[str, str]:
    """Return the environment of the parts: that of this process, with all decisions made explicit."""
    return os.environ | {
        "DATA_DIR": str(settings.data_folder),
        "ENGINE": settings.chosen_engine,
        "REDIS_URL": redis_url,
        # Their output is a pipe here, and each line must appear when it is written.
        "PYTHONUNBUFFERED": "1",
    }
