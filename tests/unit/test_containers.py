"""The container files agree with the code, the locks and each other. No image is built here."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import ApiSettings
from cli.up.composition import (
    API_ENDS_WITHIN_S,
    WORKER_ENDS_WITHIN_S,
)
from cli.up.settings import SECRETS, LocalServerSettings
from scripts.purposes import LOCKS_DIR, NEWEST_PYTHON, OLDEST_PYTHON, REPOSITORY
from tests.support.dockerfile import find_arguments, read_image_environment, read_instructions
from worker.engines.catalog import EngineName
from worker.settings import WorkerSettings

DOCKERFILES = ("Dockerfile.api", "Dockerfile.worker")
SETTINGS = {
    name.upper(): field
    for settings_class in (LocalServerSettings, ApiSettings, WorkerSettings)
    for name, field in settings_class.model_fields.items()
}
# Variables for the libraries and the container runtime.
NOT_OURS = {"HF_HOME", "NVIDIA_DRIVER_CAPABILITIES", "PYTHONUNBUFFERED"}

COMPOSE_TEXT = (REPOSITORY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]


# The engines with an image, and the lock of each.
WORKER_LOCKS = {
    "auto": "qwen-cuda.txt",
    "qwen3": "qwen-cuda.txt",
    "qwen3-vllm": "qwen-vllm.txt",
    "whisper": "base.txt",
}


def find_copied(dockerfile: str, **build_arguments: str) -> list[str]:
    """Return the files and folders that an image copies."""
    copies = find_arguments(dockerfile, "COPY", **build_arguments)
    return [source for line in copies for source in line.split()[:-1]]


def read_example() -> dict[str, str]:
    """Return the settings in .env.example, which are comments there, with their values."""
    lines = (REPOSITORY / ".env.example").read_text()
    return dict(re.findall(r"^#? ?([A-Z_]+)=(.*)$", lines, flags=re.MULTILINE))


def read_seconds(duration: str) -> float:
    """Return a duration such as `30s` in seconds."""
    assert duration.endswith("s")
    return float(duration.removesuffix("s"))


def test_compose_fits_the_schema_of_compose() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [str(checker), "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_linter_of_dockerfiles_finds_nothing(dockerfile: str) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([linter, dockerfile], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert (linted.returncode, linted.stdout) == (0, "")


@pytest.mark.parametrize("service", ["api", "worker"])
def test_compose_sets_only_settings(service: str) -> None:
    assert set(SERVICES[service]["environment"]) <= set(SETTINGS)


def test_compose_reads_settings_with_their_defaults() -> None:
    asked = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE_TEXT))

    assert set(re.findall(r"\$\{?(\w+)", COMPOSE_TEXT)) == set(asked)
    assert asked == {name: default_of(name) for name in asked}


def test_the_example_shows_settings_with_their_defaults() -> None:
    example = read_example()

    assert example == {name: default_of(name) for name in example}
    assert {"ENGINE", "MODEL_ID", "IDLE_TIMEOUT", "REQUEST_TIMEOUT", "PORT"} <= set(example)


def default_of(name: str) -> str:
    """Return the default of a setting as text."""
    default = SETTINGS[name].default
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_an_image_sets_only_settings(dockerfile: str) -> None:
    assert set(read_image_environment(dockerfile)) <= set(SETTINGS) | NOT_OURS


def test_api_and_worker_find_uploads_and_redis_at_the_same_place() -> None:
    api, worker = SERVICES["api"], SERVICES["worker"]

    for name in ("DATA_DIR", "REDIS_URL"):
        assert api["environment"][name] == worker["environment"][name]
    data_dir = worker["environment"]["DATA_DIR"]
    uploads = WorkerSettings(data_dir=data_dir).uploads_dir
    assert f"uploads:{uploads}" in api["volumes"]
    assert f"uploads:{uploads}" in worker["volumes"]
    for dockerfile in DOCKERFILES:
        assert read_image_environment(dockerfile)["DATA_DIR"] == data_dir
        assert str(uploads) in " ".join(find_arguments(dockerfile, "RUN"))


def test_both_images_run_as_the_same_user_who_is_not_root() -> None:
    users = {user for dockerfile in DOCKERFILES for user in find_arguments(dockerfile, "USER")}

    assert users == {"10001:10001"}
    for dockerfile in DOCKERFILES:
        assert "useradd --uid 10001 --gid asr" in " ".join(find_arguments(dockerfile, "RUN"))
        names = [name for name, _ in read_instructions(dockerfile)]
        assert names.index("USER") > max(index for index, name in enumerate(names) if name == "RUN")


def test_weights_are_kept_in_a_volume() -> None:
    models = WorkerSettings(data_dir=Path("/data")).models_dir

    assert read_image_environment("Dockerfile.worker")["HF_HOME"] == str(models)
    assert f"models:{models}" in SERVICES["worker"]["volumes"]


def test_every_volume_is_declared_and_used() -> None:
    used = {
        volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])
    }

    assert used == set(COMPOSE["volumes"]) == {"models", "redis", "uploads"}


def test_redis_forgets_nothing() -> None:
    command = " ".join(SERVICES["redis"]["command"])

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize(
    ("service", "needs_s"),
    [
        ("api", ApiSettings.model_fields["drain_s"].default + API_ENDS_WITHIN_S),
        ("worker", WorkerSettings.model_fields["stop_grace_s"].default + WORKER_ENDS_WITHIN_S),
    ],
)
def test_a_container_gets_more_time_to_stop_than_its_part_takes(service: str, needs_s: float) -> None:
    assert read_seconds(SERVICES[service]["stop_grace_period"]) >= needs_s + 5


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_that_ends_is_started_again(service: str) -> None:
    assert SERVICES[service]["restart"] == "unless-stopped"


def test_every_service_has_a_health_check() -> None:
    assert "ping" in SERVICES["redis"]["healthcheck"]["test"][-1]
    assert "http://127.0.0.1:8000/health" in find_arguments("Dockerfile.api", "HEALTHCHECK")[0]
    assert "worker.health_check" in find_arguments("Dockerfile.worker", "HEALTHCHECK")[0]


def test_secrets_are_kept_from_the_worker() -> None:
    assert {name: SERVICES["worker"]["environment"][name] for name in SECRETS} == dict.fromkeys(SECRETS, "")
    assert SECRETS.isdisjoint(SERVICES["api"]["environment"])


def test_the_api_listens_where_compose_publishes_it() -> None:
    environment = SERVICES["api"]["environment"]
    [published] = SERVICES["api"]["ports"]

    assert published.endswith(f":{environment['PORT']}")
    assert environment["PORT"] == read_image_environment("Dockerfile.api")["PORT"] == "8000"
    assert environment["HOST"] == "0.0.0.0"  # noqa: S104 - of the container


def test_only_the_worker_gets_the_gpu() -> None:
    [device] = SERVICES["worker"]["deploy"]["resources"]["reservations"]["devices"]

    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert [name for name, service in SERVICES.items() if "deploy" in service] == ["worker"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_python_of_an_image_is_in_the_range_of_the_locks(dockerfile: str) -> None:
    [image] = find_arguments(dockerfile, "FROM")
    [(major, minor)] = re.findall(r"^python:(\d+)\.(\d+)-slim$", image)

    assert OLDEST_PYTHON <= (int(major), int(minor)) <= NEWEST_PYTHON


@pytest.mark.parametrize(
    ("dockerfile", "arguments", "lock"),
    [
        ("Dockerfile.api", {}, "base.txt"),
        ("Dockerfile.worker", {}, "qwen-cuda.txt"),
        *(("Dockerfile.worker", {"ENGINE": engine}, lock) for engine, lock in WORKER_LOCKS.items()),
    ],
)
def test_an_image_is_installed_from_its_lock_and_nothing_else(
    dockerfile: str, arguments: dict[str, str], lock: str
) -> None:
    runs = find_arguments(dockerfile, "RUN", **arguments)
    installs = [line for line in runs if line.startswith("pip install")]
    copies = [line.split() for line in find_arguments(dockerfile, "COPY", **arguments)]
    [(source, target)] = [line for line in copies if line[0].startswith("requirements/")]

    assert len(installs) == 2
    assert source == f"requirements/{lock}"
    assert (target if not target.endswith("/") else source) in installs[0].split()
    assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= set(installs[0].split())
    assert installs[1].endswith("--no-deps --no-build-isolation .")
    assert (LOCKS_DIR / lock).is_file()


def test_every_engine_has_an_image_except_the_scripted_one() -> None:
    assert set(WORKER_LOCKS) == {"auto", *EngineName} - {EngineName.SCRIPTED}
    worker = SERVICES["worker"]
    assert worker["build"]["args"]["ENGINE"] == worker["environment"]["ENGINE"]
    assert worker["image"].partition(":")[2] == worker["environment"]["ENGINE"]


def test_only_the_image_for_vllm_has_a_compiler() -> None:
    compilers = {
        engine: any("gcc" in line for line in find_arguments("Dockerfile.worker", "RUN", ENGINE=engine))
        for engine in WORKER_LOCKS
    }

    assert {engine for engine, has_compiler in compilers.items() if has_compiler} == {"qwen3-vllm"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_files_that_an_image_copies_exist_and_are_not_ignored(dockerfile: str) -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    admitted = [line.removeprefix("!") for line in lines if line.startswith("!")]

    assert "*" in lines
    for source in find_copied(dockerfile):
        assert (REPOSITORY / source).exists(), source
        assert any(fnmatch(source.split("/")[0], pattern) for pattern in admitted), source


def test_neither_image_holds_the_other_side() -> None:
    assert "worker" not in find_copied("Dockerfile.api")
    assert "api" not in find_copied("Dockerfile.worker")
