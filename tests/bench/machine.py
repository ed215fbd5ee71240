"""The machine that is measured on: how busy it is with other work, and how many files may be open."""

import os
import platform
import resource
from dataclasses import dataclass

import psutil

BUSY_SHARE = 0.1
"""From this share of all cores on, other work is said to have disturbed the figures."""

WATCHED_S = 2.0
SPARE_DESCRIPTORS = 400


class TooFewDescriptors(Exception):
    """Raised where this user may not have as many files open as there are to be connections."""


@dataclass(frozen=True)
class Busyness:
    """How busy a machine was with other work, before and after: shares of all its cores."""

    before: float
    after: float

    def describe(self) -> str:
        """A sentence for the head of the report."""
        shares = f"{self.before:.0%} of its CPU before the first figure and {self.after:.0%} after the last"
        if max(self.before, self.after) < BUSY_SHARE:
            return f"Other work took {shares}."
        return f"**The machine was busy: other work took {shares}; run this again when it is quiet.**"


def watch_other_work() -> float:
    """The share of all cores that is in use for WATCHED_S seconds, while nothing of ours runs."""
    return psutil.cpu_percent(WATCHED_S) / 100


def describe_machine() -> str:
    """What it is, in a few words."""
    cores, memory_gb = os.cpu_count() or 1, psutil.virtual_memory().total / 1e9
    return f"{cores} cores, {memory_gb:.0f} GB, {platform.system()}, Python {platform.python_version()}"


def allow_connections(count: int) -> None:
    """Let this process, and what it starts, have `count` connections open.

    Raises:
        TooFewDescriptors: the hard limit is lower.
    """
    needed = count + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptors(
            f"{count} listeners need {needed} open files, and this user may have {hard}: "
            "raise the hard limit (ulimit -Hn), or ask for fewer by LISTENERS."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
