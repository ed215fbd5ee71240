"""Run the tests in two lanes: `python -m scripts.run_tests <marks> [options of pytest]`.

The tests in tests/qwen run in `.venv-qwen` if that is set up, all others in this environment. Most tests wait
for processes, and one lane leaves half of two cores idle. So those in tests/qwen and those with whole servers
are a second lane. Its output is printed after that of the first. The exit code is that of the first failure.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scripts.purposes import PURPOSES, REPOSITORY
from scripts.virtual_environment import VirtualEnvironment

QWEN_TESTS = "tests/qwen"
SERVER_TESTS = ("tests/system", "tests/browser")
NOTHING_SELECTED = 5  # pytest's exit code


@dataclass(frozen=True)
class Run:
    """One run of pytest: its options, and whether it needs `.venv-qwen`."""

    options: Sequence[str]
    is_qwen: bool = False


def run_pytest(python: Path, marks: str, options: Sequence[str], *, output: IO[str] | None = None) -> int:
    """Run pytest with the Python at `python`, and return the exit code. Without `output`, it prints."""
    command = [str(python), "-m", "pytest", "-m", marks, "--durations=10", *options]
    errors = subprocess.STDOUT if output else None
    return subprocess.run(command, cwd=REPOSITORY, check=False, stdout=output, stderr=errors).returncode


def find_qwen_python() -> Path | None:
    """Return the Python of the environment with torch and the test tools, or None if it is not set up."""
    purpose = PURPOSES["qwen-dev"]
    venv = VirtualEnvironment(REPOSITORY / purpose.venv)
    return venv.python if venv.is_ready(purpose.name, purpose.inputs) else None


def is_qwen_test(option: str) -> bool:
    """Return whether an option is the path of tests for the environment with torch."""
    return Path(option.partition("::")[0]).is_relative_to(QWEN_TESTS)


def is_path(option: str) -> bool:
    """Return whether an option is the path of a file, a folder, or a test in a file."""
    return (REPOSITORY / option.partition("::")[0]).exists()


def first_failure(exit_codes: Iterable[int]) -> int:
    """Return the first exit code of a failure; NOTHING_SELECTED counts only if all runs have it."""
    codes = list(exit_codes)
    return next((code for code in codes if code not in {0, NOTHING_SELECTED}), min(codes))


def plan_lanes(options: Sequence[str]) -> list[list[Run]]:
    """Return the runs of each lane: of all tests, or of the paths among the options."""
    paths = [option for option in options if is_path(option)]
    if not paths:
        left_out = [f"--ignore={folder}" for folder in SERVER_TESTS]
        return [
            [Run([*options, *left_out])],
            [Run([*options, QWEN_TESTS], is_qwen=True), Run([*options, *SERVER_TESTS])],
        ]
    qwen_paths = [path for path in paths if is_qwen_test(path)]
    others = [path for path in paths if path not in qwen_paths]
    lanes = []
    if others:
        lanes.append([Run(leave_out(qwen_paths, options))])
    if qwen_paths:
        lanes.append([Run(leave_out(others, options), is_qwen=True)])
    return lanes


def leave_out(paths: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the options that are not among `paths`."""
    return [option for option in options if option not in paths]


def run_lane(marks: str, runs: Sequence[Run], *, output: IO[str] | None = None) -> list[int]:
    """Run one run after the other, and return their exit codes. Without `output`, they print."""
    return [
        run_qwen_tests(marks, run.options, output=output)
        if run.is_qwen
        else run_pytest(Path(sys.executable), marks, run.options, output=output)
        for run in runs
    ]


def run_tests(marks: str, options: Sequence[str]) -> int:
    """Run the tests that `marks` and `options` select, each in its environment, and return one exit code."""
    shown, *others = plan_lanes(options)
    with tempfile.TemporaryFile("w+") as output, ThreadPoolExecutor() as threads:
        pending = [threads.submit(run_lane, marks, lane, output=output) for lane in others]
        exit_codes = run_lane(marks, shown)
        for lane in pending:
            exit_codes += lane.result()
        output.seek(0)
        shutil.copyfileobj(output, sys.stdout)
    return first_failure(exit_codes)


def run_qwen_tests(marks: str, options: Sequence[str], *, output: IO[str] | None = None) -> int:
    """Run tests in the environment with torch, or print that it is not set up.

    If all tests are required, a test of the other run then fails for that reason.
    """
    python = find_qwen_python()
    if python is None:
        print(f"{QWEN_TESTS} is skipped: {PURPOSES['qwen-dev'].venv} is not set up", file=output, flush=True)
        return NOTHING_SELECTED
    return run_pytest(python, f"qwen and ({marks})", options, output=output)


def main() -> int:
    """Run the tests that the command line selects; pytest itself reports a Ctrl-C."""
    try:
        return run_tests(sys.argv[1], sys.argv[2:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
