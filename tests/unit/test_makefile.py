"""`make` picks a Python that fits, lets uv bring one, or says that there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

from scripts.purposes import REPOSITORY

MAKE = shutil.which("make") or "make"


def write_program(folder: Path, name: str, *lines: str) -> None:
    """Write an executable shell script."""
    program = folder / name
    program.write_text("\n".join(("#!/bin/sh", *lines)))
    program.chmod(0o755)


def write_uv(folder: Path, *, has_python: bool = False, can_download: bool = True) -> None:
    """Write a uv that finds a Python at once, after it has installed it, or never."""
    marker = folder / "installed"
    if has_python:
        marker.touch()
    write_program(
        folder,
        "uv",
        f'case "$*" in "python install 3.13") {"" if can_download else "exit 1; "}: > {marker} ;;',
        f'"python find "*" 3.13") [ -e {marker} ] && echo /managed/python3.13 ;; *) exit 2 ;; esac',
    )


def plan_run(programs: Path) -> subprocess.CompletedProcess[str]:
    """Return what `make run` would do if these were all programs of the machine."""
    return subprocess.run(
        [MAKE, "--dry-run", "run"],
        cwd=REPOSITORY,
        env={"PATH": str(programs)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_a_python_that_does_not_run_or_is_too_old_is_passed_over(tmp_path: Path) -> None:
    write_program(tmp_path, "python3.13", "echo no such version >&2", "exit 127")
    write_program(tmp_path, "python3.12", "exit 1")
    write_program(tmp_path, "python3", f'exec {sys.executable} "$@"')
    write_uv(tmp_path, has_python=True)

    planned = plan_run(tmp_path)

    assert planned.stdout.startswith("exec python3 -m cli up ")


def test_without_a_python_uv_brings_one(tmp_path: Path) -> None:
    write_program(tmp_path, "python3", "exit 1")
    write_uv(tmp_path)

    planned = plan_run(tmp_path)

    assert planned.stdout.startswith("exec /managed/python3.13 -m cli up ")


def test_a_python_that_uv_has_is_not_downloaded_again(tmp_path: Path) -> None:
    write_uv(tmp_path, has_python=True, can_download=False)

    planned = plan_run(tmp_path)

    assert planned.stdout.startswith("exec /managed/python3.13 -m cli up ")


def test_a_uv_that_cannot_bring_a_python_is_the_same_as_none(tmp_path: Path) -> None:
    write_uv(tmp_path, can_download=False)

    assert "No Python 3.11 to 3.14 was found" in plan_run(tmp_path).stdout


def test_no_python_at_all_is_one_line(tmp_path: Path) -> None:
    planned = plan_run(tmp_path)

    assert planned.returncode != 0
    assert "No Python 3.11 to 3.14 was found, nor uv to bring one" in planned.stdout
    assert len(planned.stdout.splitlines()) == 1
