"""The settings of `qwen3-asr up`, and the environment of its parts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.settings import ApiSettings
from cli.up.errors import CannotStart
from shared.engine_choice import EngineChoice, choose_installed_engine
from shared.settings import RedisUrl
from worker.engines.catalog import EngineName
from worker.settings import WorkerSettings

BAD_SETTING_EXIT_CODE = 2

SECRETS = frozenset({"API_KEYS", "WEBHOOK_SECRET"})
"""Settings that are never shown, and that only the api gets."""


class LocalServerSettings(BaseSettings):
    """Settings of `make run`, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    port: int = Field(default=8100, ge=0, le=65_535)
    """The port to listen on; 0 takes any free one."""

    host: str = "127.0.0.1"
    """The address to listen on. By default only this machine can reach it; set API_KEYS to open it."""

    engine: str = "auto"
    """The engine: `qwen3`, `qwen3-vllm`, `whisper`, `scripted` (for tests), or `auto`: `qwen3` if there is an
    NVIDIA device at the start, else `whisper`."""

    data_dir: Path = Path("data")
    """The folder for jobs, uploads and model weights; a new folder is readable only by its owner."""

    redis_url: RedisUrl | None = None
    """A running Redis or Valkey, 6.2 or newer. Without it, `make run` starts a private one."""

    redis_fsync: Literal["everysec", "always"] = "everysec"
    """How often the private Redis forces jobs to disk: a power cut loses one second, or (slower) nothing."""

    drain_s: NonNegativeInt = 5
    """Seconds that open requests have to end when the server stops."""

    stop_grace_s: NonNegativeFloat = 10.0
    """Seconds that a running job has to return to the queue when the server stops."""

    @property
    def data_folder(self) -> Path:
        """DATA_DIR as an absolute path."""
        return self.data_dir.absolute()


def read_settings() -> LocalServerSettings:
    """Return the settings in the environment.

    Raises:
        CannotStart: a setting has an invalid value.
    """
    with _one_line_for_a_bad_setting():
        return LocalServerSettings()


def check_settings_of_parts(engine: str) -> ApiSettings:
    """Check the settings of the worker and the api, and return the settings of the api.

    Raises:
        CannotStart: a setting has an invalid value.
    """
    with _one_line_for_a_bad_setting():
        WorkerSettings(engine=EngineName(engine))
        return ApiSettings()


@contextmanager
def _one_line_for_a_bad_setting() -> Iterator[None]:
    try:
        yield
    except ValidationError as problem:
        first = problem.errors()[0]
        name = str(first["loc"][0]).upper()
        given = "" if name in SECRETS else f"={first['input']}"
        # A secret gets no cause: a traceback would show it.
        raise CannotStart(f"{name}{given}: {first['msg']}.", exit_code=BAD_SETTING_EXIT_CODE) from (
            None if name in SECRETS else problem
        )


def choose_engine(wanted: str) -> EngineChoice:
    """Return the engine that ENGINE=`wanted` means, and the reason.

    In a checkout, `auto` is decided before, because the environment depends on it.

    Raises:
        CannotStart: there is no such engine; a named engine is never replaced.
    """
    if wanted == "auto":
        return choose_installed_engine()
    if wanted not in list(EngineName):
        names = ", ".join(("auto", *EngineName))
        raise CannotStart(
            f"ENGINE={wanted} does not exist in this version. Choose one of {names}.",
            exit_code=BAD_SETTING_EXIT_CODE,
        )
    return EngineChoice(wanted, "it is set")


def parts_environment(settings: LocalServerSettings, *, engine: str, redis_url: str) -> Mapping[str, str]:
    """Return the environment of the parts: that of this process, with all decisions made explicit."""
    return os.environ | {
        "DATA_DIR": str(settings.data_folder),
        "DRAIN_S": str(settings.drain_s),
        "ENGINE": engine,
        "REDIS_URL": redis_url,
        "STOP_GRACE_S": f"{settings.stop_grace_s:g}",
        # Their output is a pipe here, and each line must appear when it is written.
        "PYTHONUNBUFFERED": "1",
    }
