"""The settings of `qwen3-asr up`, and the environment of its parts."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from api.settings import ApiSettings
from cli.up.errors import CannotStart
from shared import start_settings
from shared.start_settings import BAD_SETTING_EXIT_CODE, BadSetting, find_misspelt, list_names
from worker.settings import WorkerStartSettings

SECRETS = frozenset({"API_KEYS", "WEBHOOK_SECRET"})
"""Settings that are never shown, and that only the api gets."""


class LocalServerSettings(ApiSettings, WorkerStartSettings):
    """Settings of `make run`: all that its parts read, and its own."""

    redis_fsync: Literal["everysec", "always"] = "everysec"
    """How often the private Redis forces jobs to disk: a power cut loses one second, or (slower) nothing."""

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
        return start_settings.read_settings(LocalServerSettings)
    except BadSetting as problem:
        raise CannotStart(str(problem), exit_code=BAD_SETTING_EXIT_CODE) from None


def describe_misspelt_settings() -> list[str]:
    """Return a line about each variable of the environment that is nearly the name of a setting."""
    misspelt = find_misspelt(os.environ, list_names(LocalServerSettings))
    return [f"{name} is not a setting; did you mean {nearest}?" for name, nearest in misspelt.items()]


def parts_environment(settings: LocalServerSettings, *, redis_url: str) -> Mapping[str, str]:
    """Return the environment of the parts: that of this process, with all decisions made explicit."""
    return os.environ | {
        "DATA_DIR": str(settings.data_folder),
        "ENGINE": settings.chosen_engine,
        "REDIS_URL": redis_url,
        # Their output is a pipe here, and each line must appear when it is written.
        "PYTHONUNBUFFERED": "1",
    }
