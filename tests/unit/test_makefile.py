"""`make` picks a Python that will do, and says so where there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

from scripts.setup_venv import REPOSITORY

MAKE = shutil.which("make") or "make"


def write_program(folder: Path, name: str, *lines: str) -> None:
    """An executable shell script."""
    program = folder / name
    program.write_text("\n".join(("#!/bin/sh", *lines)))
    program.chmod(0o755)


def plan_run(programs: Path) -> subprocess.CompletedProcess[str]:
    """What `make run` would do where there are only these programs."""
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

    planned = plan_run(tmp_path)

    assert planned.stdout.startswith("exec python3 -m cli.up.bootstrap ")


def test_no_python_at_all_is_one_line(tmp_path: Path) -> None:
    planned = plan_run(tmp_path)

    assert planned.returncode != 0
    assert "Python 3.11, 3.12 or 3.13 is needed and none was found" in planned.stdout
    assert len(planned.stdout.splitlines()) == 1
