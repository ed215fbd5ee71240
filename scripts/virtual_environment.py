"""A virtual environment with a record of what is installed in it. Imports only the standard library."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

DISK_FULL = "the disk is full"

# Signs in pip's output and the cause of the failure, the most specific first.
CAUSES = (
    ("No space left on device", DISK_FULL),
    ("DO NOT MATCH THE HASHES", "a package is not the one that was locked"),
    ("Temporary failure in name resolution", "the package index cannot be reached"),
    ("Name or service not known", "the package index cannot be reached"),
    ("nodename nor servname provided", "the package index cannot be reached"),
    ("NewConnectionError", "the package index cannot be reached"),
    ("ConnectTimeoutError", "the package index does not answer"),
    ("ReadTimeoutError", "the package index does not answer"),
    ("ProxyError", "the proxy of the package index does not answer"),
    ("No matching distribution found", "no package index has a locked package for this machine"),
)


class EnvironmentFailure(Exception):
    """Raised when an environment cannot be created; the message is one line for the user."""


class PipFailure(Exception):
    """Raised when pip failed; `output` is all its output, `cause` is one line."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output
        self.cause = next((cause for sign, cause in CAUSES if sign in output), "pip failed")


class VirtualEnvironment:
    """A virtual environment with one stamp for each purpose that it is ready for.

    A stamp is a digest of everything the installation depends on: the files in `inputs`, the Python version,
    and the path of the environment, because an environment cannot be moved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def is_ready(self, purpose: str, inputs: list[Path]) -> bool:
        """Return whether the environment is installed for `purpose` from the present `inputs`."""
        stamp = self._stamp(purpose)
        return self.python.exists() and stamp.exists() and stamp.read_text() == self._digest(inputs)

    def mark_ready(self, purpose: str, inputs: list[Path]) -> None:
        """Record that the environment is installed for `purpose` from `inputs`."""
        self._stamp(purpose).write_text(self._digest(inputs))

    def mark_unready(self) -> None:
        """Remove all stamps; call it before an installation, which may fail half-way."""
        for stamp in self.folder.glob("*.stamp"):
            stamp.unlink()

    def is_usable(self) -> bool:
        """Return whether the environment has the Python version of this process, and a working pip."""
        probe = [str(self.python), "-c", "import pip, sys; print(sys.version)"]
        try:
            finished = subprocess.run(probe, capture_output=True, text=True, check=False)
        except OSError:
            return False
        return finished.stdout == f"{sys.version}\n"

    def create(self) -> None:
        """Create the environment anew.

        Raises:
            EnvironmentFailure: the folder cannot be written, or this Python cannot create environments.
        """
        command = [sys.executable, "-m", "venv", "--clear", str(self.folder)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            words = (finished.stderr or finished.stdout).strip().rpartition("\n")[2]
            raise EnvironmentFailure(f"cannot create {self.folder}: {words}")

    def install_lock(self, lock: Path, *options: str) -> None:
        """Install exactly the wheels in `lock`, checked by their hashes.

        Raises:
            PipFailure: pip failed.
        """
        self._install("--require-hashes", "--only-binary=:all:", *options, "--requirement", str(lock))

    def install_in_place(self, project: Path) -> None:
        """Install the project in the folder `project` in editable mode.

        Raises:
            PipFailure: pip failed.
        """
        self._install("--no-build-isolation", "--editable", str(project))

    def _install(self, *arguments: str) -> None:
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--no-input", "--no-deps", *arguments]
        finished = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if finished.returncode:
            raise PipFailure(finished.stdout)

    def _stamp(self, purpose: str) -> Path:
        return self.folder / f"{purpose}.stamp"

    def _digest(self, inputs: list[Path]) -> str:
        digest = hashlib.sha256(f"{sys.version}\n{self.folder}\n".encode())
        for file in inputs:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()
