"""`python -m tests.chaos`: one run with the settings in the environment; exit code 1 if a goal is missed."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from tests.chaos.clips import MEAN_BYTES
from tests.chaos.disk import BASE_BYTES, SmallDisk, become_on_tmpfs, is_tmpfs_permitted
from tests.chaos.run import run_chaos
from tests.chaos.settings import ChaosSettings, DiskFullBy

GOOD, GOAL_MISSED, BAD_SETTING, INTERRUPTED = 0, 1, 2, 130
ON_TMPFS = "--on-tmpfs"

show = partial(print, flush=True)


def main(arguments: list[str]) -> int:
    """Run, in a namespace with a small disk if possible, and return the exit code."""
    try:
        settings = ChaosSettings()
    except ValidationError as problem:
        first = problem.errors()[0]
        show(f"{str(first['loc'][0]).upper()}={first['input']}: {first['msg']}.")
        return BAD_SETTING
    if arguments[:1] == [ON_TMPFS]:
        return _run(settings, Path(arguments[1]), on_tmpfs=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    exit_code = _run_in_folder(settings, folder)
    if exit_code == GOOD:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        show(f"The logs of all parts are in {folder / 'logs'}.")
    return exit_code


def _run_in_folder(settings: ChaosSettings, folder: Path) -> int:
    data = folder / "data"
    data.mkdir(mode=0o700)
    if settings.disk_full_by is not DiskFullBy.LIMIT and is_tmpfs_permitted(data):
        size_bytes = BASE_BYTES + settings.jobs * MEAN_BYTES
        command = (sys.executable, "-m", "tests.chaos", ON_TMPFS, str(folder))
        return _wait_for(become_on_tmpfs(data, size_bytes, command))
    if settings.disk_full_by is DiskFullBy.TMPFS:
        show("DISK_FULL_BY=tmpfs: this user may not mount a tmpfs in a namespace. Leave the setting out.")
        return BAD_SETTING
    return _run(settings, folder, on_tmpfs=False)


def _wait_for(command: list[str]) -> int:
    with subprocess.Popen(command) as running:
        while True:
            try:
                return running.wait()
            except KeyboardInterrupt:  # the program got the same signal and ends
                continue


def _run(settings: ChaosSettings, folder: Path, *, on_tmpfs: bool) -> int:
    disk = SmallDisk(folder / "data") if on_tmpfs else None
    try:
        report = asyncio.run(run_chaos(settings, folder, disk, show))
    except KeyboardInterrupt:
        return INTERRUPTED
    show(f"\n{report.text}")
    if settings.report is not None:
        settings.report.write_text(report.text, encoding="utf-8")
    return GOOD if report.is_good else GOAL_MISSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
