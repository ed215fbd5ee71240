"""The content of the images serves requests: the steps of the Dockerfiles run in virtual environments."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from scripts.purposes import REPOSITORY
from tests.support.audio import make_tones, write_wav
from tests.support.dockerfile import find_arguments, read_image_environment, read_instructions
from tests.support.server import find_free_port, wait_for

INSTALL_WITHIN_S = 600
TIMEOUT_S = 60


class StandInContainer:
    """A folder and a virtual environment with the files and packages of an image, without isolation."""

    def __init__(self, dockerfile: str, folder: Path) -> None:
        self._dockerfile = dockerfile
        self._srv = folder / "srv"
        self._venv = folder / "venv"
        self._srv.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", self._venv], check=True)

    def build(self, **arguments: str) -> None:
        """Run the instructions COPY and RUN pip with these build arguments."""
        for name, line in read_instructions(self._dockerfile, **arguments):
            if name == "COPY":
                self._copy(*line.split())
            elif name == "RUN" and line.startswith("pip "):
                self.run(["/bin/sh", "-c", line])

    def run(self, command: list[str], **environment: str) -> str:
        """Return the output of a command in the container."""
        return subprocess.run(
            command,
            cwd=self._srv,
            env=self._environment(environment),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=INSTALL_WITHIN_S,
        ).stdout

    def can_run(self, command: list[str], **environment: str) -> bool:
        """Whether a command in the container ends well."""
        try:
            self.run(command, **environment)
        except subprocess.CalledProcessError:
            return False
        return True

    @contextmanager
    def running(self, *command: str, **environment: str) -> Iterator[None]:
        """Run a command in the container, by default its own, until the end of the `with` block."""
        [own_command] = find_arguments(self._dockerfile, "CMD")
        with subprocess.Popen(
            command or json.loads(own_command),
            cwd=self._srv,
            env=self._environment(environment),
            executable=self._venv / "bin" / "python",
        ) as process:
            try:
                yield
            finally:
                process.terminate()
                assert process.wait(TIMEOUT_S) in (0, -15)

    def is_healthy(self, **environment: str) -> bool:
        """Return whether the container's health check succeeds."""
        [check] = find_arguments(self._dockerfile, "HEALTHCHECK")
        command = json.loads(check.partition("CMD ")[2].replace("8000", environment["PORT"]))
        ended = subprocess.run(
            command,
            cwd=self._srv,
            env=self._environment(environment),
            executable=self._venv / "bin" / "python",
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return ended.returncode == 0

    def _copy(self, *words: str) -> None:
        *sources, target = words
        for source in sources:
            if (REPOSITORY / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(REPOSITORY / source, self._srv / target, ignore=ignored)
            else:
                folder = target if target.endswith("/") else os.path.dirname(target)  # noqa: PTH120 - of a target
                (self._srv / folder).mkdir(exist_ok=True)
                shutil.copy(REPOSITORY / source, self._srv / target)

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        path = f"{self._venv / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, **read_image_environment(self._dockerfile), **settings, "PATH": path}


@pytest.mark.full
@pytest.mark.timeout(2 * INSTALL_WITHIN_S)
def test_the_content_of_the_images_serves_a_request(tmp_path: Path, redis_url: str) -> None:
    api = StandInContainer("Dockerfile.api", tmp_path / "api")
    worker = StandInContainer("Dockerfile.worker", tmp_path / "worker")
    api.build()
    worker.build(ENGINE="whisper")  # the locked build for CUDA takes gigabytes
    settings = {"REDIS_URL": redis_url, "DATA_DIR": str(tmp_path), "PORT": str(find_free_port())}
    settings |= {"ENGINE": "scripted", "HOST": "127.0.0.1", "HF_HOME": str(tmp_path)}

    with worker.running(**settings), api.running(**settings):
        wait_for(lambda: api.is_healthy(**settings) and worker.is_healthy(**settings))
        url = f"http://127.0.0.1:{settings['PORT']}/v1/audio/transcriptions"
        answer = httpx.post(url, files={"file": write_wav(make_tones(2))}, timeout=TIMEOUT_S)

    assert answer.is_success, answer.text
    assert answer.json()["text"]
    where = api.run(["python", "-P", "-c", "import api; print(api.__file__)"])
    assert str(tmp_path / "api" / "venv") in where
    assert "torch" not in api.run(["python", "-m", "pip", "list"])
