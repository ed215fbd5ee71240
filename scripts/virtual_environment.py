"""A virtual environment that knows what was installed into it; needs nothing but the standard library."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

DISK_FULL = "the disk is full"

# What in pip's output tells the cause of a failure, most telling first.
CAUSES = (
    ("No space left on device", DISK_FULL),
    ("DO NOT MATCH THE HASHES", "a package is not the one that was locked"),
    ("Temporary failure in name resolution", "the package index cannot be reached"),
    ("Name or service not known", "the package index cannot be reached"),
    ("nodename nor servname provided", "the package index cannot be reached"),
    ("NewConnectionError", "the package index cannot be reached"),
    ("ConnectTimeoutError", "the package index does not answer"),
    ("ReadTimeoutError", "the package index does not answer"),
    ("ProxyError", "the proxy before the package index does not answer"),
    ("No matching distribution found", "no package index has a locked package for this machine"),
)


class EnvironmentFailure(Exception):
    """Raised when the environment cannot be created; the message is one line for the user."""


class PipFailure(Exception):
    """Raised when pip failed; `output` is all that it printed, `cause` one line about it."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output
        self.cause = next((cause for sign, cause in CAUSES if sign in output), "pip failed")


class VirtualEnvironment:
    """A virtual environment with one stamp for each purpose it is ready for.

    A stamp is a digest of all that the installation depended on: the files given as `inputs`, the Python,
    and the place of the environment, which does not survive a move.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def is_ready(self, purpose: str, inputs: list[Path]) -> bool:
        """Whether all that `purpose` needs is installed, as `inputs` say now."""
        stamp = self._stamp(purpose)
        return self.python.exists() and stamp.exists() and stamp.read_text() == self._digest(inputs)

    def mark_ready(self, purpose: str, inputs: list[Path]) -> None:
        """Note that all that `purpose` needs is installed, as `inputs` say."""
        self._stamp(purpose).write_text(self._digest(inputs))

    def mark_unready(self) -> None:
        """Forget all purposes; done before anything is installed, which may fail half-way."""
        for stamp in self.folder.glob("*.stamp"):
            stamp.unlink()

    def is_usable(self) -> bool:
        """Whether it was made by the Python that runs this, and has a pip that runs."""
        probe = [str(self.python), "-c", "import pip, sys; print(sys.version)"]
        try:
            finished = subprocess.run(probe, capture_output=True, text=True, check=False)
        except OSError:
            return False
        return finished.stdout == f"{sys.version}\n"

    def create(self) -> None:
        """Create the environment, in place of what is there.

        Raises:
            EnvironmentFailure: the folder cannot be written, or this Python lacks what it takes.
        """
        command = [sys.executable, "-m", "venv", "--clear", str(self.folder)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            words = (finished.stderr or finished.stdout).strip().rpartition("\n")[2]
            raise EnvironmentFailure(f"cannot create {self.folder}: {words}")

    def install_lock(self, lock: Path, *options: str) -> None:
        """Install what `lock` lists: ready-made wheels whose hash is in it, and nothing else.

        Raises:
            PipFailure: pip failed.
        """
        self._install("--require-hashes", "--only-binary=:all:", *options, "--requirement", str(lock))

    def install_in_place(self, project: Path) -> None:
        """Install the project in the folder `project`, so that what is imported are the files there.

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
