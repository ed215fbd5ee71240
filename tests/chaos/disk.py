"""A disk of limited size without root: a tmpfs in a user namespace, which can shrink to its content."""

import contextlib
import os
import subprocess
from pathlib import Path

MOUNT_AND_BECOME = 'mount -t tmpfs -o "size=$0,mode=700" tmpfs "$1" && shift && exec "$@"'
SPARE_BYTES = 1 << 14
ATTEMPTS = 8
BASE_BYTES = 256 << 20


def is_tmpfs_permitted(folder: Path) -> bool:
    """Return whether this user may mount a tmpfs on `folder` in a private namespace."""
    try:
        tried = subprocess.run(become_on_tmpfs(folder, 1 << 20, ("true",)), capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


def become_on_tmpfs(folder: Path, size_bytes: int, command: tuple[str, ...]) -> list[str]:
    """Return the command that runs `command` in a namespace where `folder` is a tmpfs of that size."""
    shell = ("/bin/sh", "-c", MOUNT_AND_BECOME, str(size_bytes), str(folder), *command)
    return ["unshare", "--user", "--map-root-user", "--mount", *shell]


class SmallDisk:
    """The tmpfs on `folder`; create this inside its namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._size_bytes = _measure(folder)[0]

    def fill(self) -> None:
        """Shrink the disk to a few spare kilobytes, or more if it fills faster than it can shrink."""
        for doublings in range(ATTEMPTS):
            with contextlib.suppress(subprocess.CalledProcessError):
                self._resize(_measure(self._folder)[1] + (SPARE_BYTES << doublings))
                return
        raise RuntimeError(f"The tmpfs on {self._folder} could not be shrunk in {ATTEMPTS} attempts.")

    def clear(self) -> None:
        """Restore the size."""
        self._resize(self._size_bytes)

    def _resize(self, size_bytes: int) -> None:
        options = f"remount,size={size_bytes}"
        command = ["mount", "-o", options, str(self._folder)]
        subprocess.run(command, check=True, capture_output=True)


def _measure(folder: Path) -> tuple[int, int]:
    """Return size and use of the file system, in bytes."""
    state = os.statvfs(folder)
    return state.f_blocks * state.f_frsize, (state.f_blocks - state.f_bfree) * state.f_frsize
