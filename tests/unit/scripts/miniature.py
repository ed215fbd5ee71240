"""A miniature repository whose set-up takes seconds and no network, because its wheels are empty."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copy
from typing import Self

from scripts.purposes import REPOSITORY

NO_INDEX_URL = "http://127.0.0.1:9/simple"

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

BACKEND = """
import pathlib, sys
sys.path.insert(0, r"{tests}")
from tests.unit.scripts.miniature import make_wheel

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return make_wheel(pathlib.Path(wheel_directory), "the_project", "1").name
"""


def make_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel in `folder` that installs no files but what pip needs."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    described = f"{name}-{version}.dist-info"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "".join(f"{described}/{file},,\n" for file in ("METADATA", "WHEEL", "RECORD")),
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            # Without the time of day, so that a wheel written again has the same hash.
            archive.writestr(zipfile.ZipInfo(f"{described}/{file}"), text)
    return wheel


class MiniatureRepository:
    """The set-up script in a folder of its own, with locks of empty packages in place of the real ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Write all its files into `folder`; no environment is there yet."""
        for name in ("scripts", "requirements", "wheels"):
            (folder / name).mkdir(parents=True)
        for name in ("__init__.py", "purposes.py", "setup_venv.py", "virtual_environment.py"):
            copy(REPOSITORY / "scripts" / name, folder / "scripts")
        (folder / "pyproject.toml").write_text(PROJECT)
        (folder / "backend.py").write_text(BACKEND.format(tests=REPOSITORY))
        repository = cls(folder)
        repository.lock("base.txt", "runtime")
        repository.lock("dev.txt", "runtime", "linter")
        repository.lock("whisper-weights.txt", "weights")
        repository.lock("torch-cpu.txt", "torch")
        repository.lock("qwen-cpu.txt", "runtime")
        repository.lock("qwen-dev.txt", "runtime", "linter")
        return repository

    def lock(self, lock: str, *names: str, version: str = "1") -> None:
        """Write a lock of packages, and have them in the folder of wheels."""
        lines = []
        for name in names:
            wheel = make_wheel(self.wheels, name, version)
            lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
        (self.folder / "requirements" / lock).write_text("\n".join(lines))

    def set_up(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the set-up with `arguments`; what it prints comes as one text."""
        settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(
            [sys.executable, "-m", "scripts.setup_venv", *arguments],
            cwd=self.folder,
            env={**os.environ, **settings, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def list_files(self, venv: str) -> dict[Path, int]:
        """Return the files of an environment and when each was last changed, in nanoseconds."""
        files = (path for path in (self.folder / venv).rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files if "__pycache__" not in path.parts}

    def installed(self, venv: str = ".venv") -> dict[str, str]:
        """Names and versions of what was installed into an environment, but for pip and its like."""
        folders = (self.folder / venv).glob("lib/python*/site-packages/*.dist-info")
        pairs = [folder.name.removesuffix(".dist-info").rsplit("-", 1) for folder in folders]
        return {name: version for name, version in pairs if name not in {"pip", "setuptools"}}
