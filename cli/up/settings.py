"""The settings of `make run`, and the environment that the parts are given."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.settings import ApiSettings
from cli.up.start_errors import CannotStart
from shared.engine_choice import EngineChoice, choose_installed_engine
from worker.engines.catalog import EngineName
from worker.settings import WorkerSettings

BAD_SETTING_EXIT_CODE = 2

SECRETS = frozenset({"API_KEYS", "WEBHOOK_SECRET"})
"""What is shown to nobody, and given to the api and to what delivers its webhooks alone."""


class LocalServerSettings(BaseSettings):
    """Settings of `make run`, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    port: int = Field(default=8100, ge=0, le=65_535)
    """The port to listen on; 0 takes any free one."""

    host: str = "127.0.0.1"
    """The address to listen on. By default only this machine can reach it; set API_KEYS before others can."""

    engine: str = "auto"
    """The engine: `qwen3`, `qwen3-vllm`, `whisper`, `scripted` (for tests), or `auto`, decided once at the
    start: `qwen3` where an NVIDIA device is seen, else `whisper`."""

    data_dir: Path = Path("data")
    """The folder for jobs, uploads and model weights, created for its owner alone."""

    redis_url: str | None = None
    """A Redis or Valkey server to use, 6.2 or newer; without it one is started that only this server uses."""

    redis_fsync: Literal["everysec", "always"] = "everysec"
    """When the started Redis forces jobs to disk: a power cut loses a second of them, or (slower) none."""

    drain_s: NonNegativeInt = 5
    """Seconds that open requests get to end when the server stops."""

    stop_grace_s: NonNegativeFloat = 10.0
    """Seconds that a running job has to put itself back into the queue when the server stops."""

    @property
    def data_folder(self) -> Path:
        """DATA_DIR as an absolute path."""
        return self.data_dir.absolute()


def read_settings() -> LocalServerSettings:
    """The settings in the environment.

    Raises:
        CannotStart: one of them is no value it can have.
    """
    with _one_line_for_a_bad_setting():
        return LocalServerSettings()


def check_settings_of_parts(engine: str) -> ApiSettings:
    """See that the api, whose settings are returned, and the worker will understand theirs, too.

    Raises:
        CannotStart: one of them is no value it can have.
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
        # Without a cause where it is secret: a traceback would show it.
        raise CannotStart(f"{name}{given}: {first['msg']}.", exit_code=BAD_SETTING_EXIT_CODE) from (
            None if name in SECRETS else problem
        )


def choose_engine(asked: str) -> EngineChoice:
    """The engine that ENGINE=`asked` means, and why.

    `make run` decides what `auto` means before it gets here, since the environment depends on it.

    Raises:
        CannotStart: there is no such engine; one that was named never becomes another.
    """
    if asked == "auto":
        return choose_installed_engine()
    if asked not in list(EngineName):
        names = ", ".join(("auto", *EngineName))
        raise CannotStart(
            f"ENGINE={asked}: this version has no such engine; choose one of {names}.",
            exit_code=BAD_SETTING_EXIT_CODE,
        )
    return EngineChoice(asked, "it was asked for")


def parts_environment(settings: LocalServerSettings, *, engine: str, redis_url: str) -> Mapping[str, str]:
    """The environment of api and worker: this process's own, with what was decided here made explicit."""
    return os.environ | {
        "DATA_DIR": str(settings.data_folder),
        "DRAIN_S": str(settings.drain_s),
        "ENGINE": engine,
        "REDIS_URL": redis_url,
        "STOP_GRACE_S": f"{settings.stop_grace_s:g}",
        # Their output is a pipe here, and lines are wanted when they are written.
        "PYTHONUNBUFFERED": "1",
    }
