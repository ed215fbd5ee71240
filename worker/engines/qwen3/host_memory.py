"""The memory of this machine that a process may still take: of Linux, and of the control groups around it.

A container's limit is a control group, of version 1 or 2. `/proc/meminfo` does not show it.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec


class HostMemory(msgspec.Struct, frozen=True):
    """Bytes that can be taken without swapping, and bytes in all."""

    free_bytes: int
    total_bytes: int


class _GroupFiles(msgspec.Struct, frozen=True):
    """The files of a control group, and the field of its statistics with what Linux can reclaim at once."""

    mount: str
    limit: str
    used: str
    reclaimable: str


_VERSION_1 = _GroupFiles(
    "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)
_VERSION_2 = _GroupFiles("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def read_host_memory(root: Path = Path("/")) -> HostMemory | None:
    """Return the memory of this machine or container, and None if the system does not report it like Linux.

    `root` is the folder of `proc` and `sys`.
    """
    try:
        machine = _read_fields(root / "proc/meminfo")
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        limits = [HostMemory(machine["MemAvailable:"] * 1024, machine["MemTotal:"] * 1024)]
    except (OSError, KeyError):
        return None
    for line in groups:
        limits += _read_limits(root, line)
    return HostMemory(min(limit.free_bytes for limit in limits), min(limit.total_bytes for limit in limits))


def _read_limits(root: Path, line: str) -> Iterator[HostMemory]:
    """Yield the limits of a group, as a line of `/proc/self/cgroup` names it, and of those around it."""
    _, controllers, path = line.split(":", 2)
    if controllers not in {"", "memory"}:
        return
    files = _VERSION_1 if controllers else _VERSION_2
    group = root / files.mount / path.lstrip("/")
    for folder in (group, *group.parents):
        if folder.is_relative_to(root / files.mount) and (memory := _read_limit(folder, files)):
            yield memory


def _read_limit(folder: Path, files: _GroupFiles) -> HostMemory | None:
    """Return the memory of a group, or None if it has no limit. A container sees only its own group."""
    try:
        limit = int((folder / files.limit).read_text())
        used = int((folder / files.used).read_text())
        reclaimable = _read_fields(folder / "memory.stat").get(files.reclaimable, 0)
    except (OSError, ValueError):  # the limit may be `max`
        return None
    return HostMemory(max(0, limit - used + reclaimable), limit)


def _read_fields(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text().splitlines())
    return {name: int(number) for name, number, *_ in lines}
