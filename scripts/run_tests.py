"""Run the tests in both environments: `python -m scripts.run_tests <marks> [options of pytest]`.

The tests in tests/qwen run in `.venv-qwen` if that is set up, at the same time as all others in this
environment. Their output is printed after that of the others. The exit code is that of the first failure.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from scripts.purposes import PURPOSES, REPOSITORY
from scripts.virtual_environment import VirtualEnvironment

QWEN_TESTS = "tests/qwen"
NOTHING_SELECTED = 5  # pytest's exit code


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


def run_tests(marks: str, options: Sequence[str]) -> int:
    """Run the tests that `marks` and `options` select in both environments, and return one exit code."""
    paths = [option for option in options if is_path(option)]
    qwen_paths = [path for path in paths if is_qwen_test(path)]
    others = [path for path in paths if path not in qwen_paths]
    if paths and not others:
        return run_qwen_tests(marks, options)
    if paths and not qwen_paths:
        return run_pytest(Path(sys.executable), marks, options)
    where = [] if paths else [QWEN_TESTS]
    with tempfile.TemporaryFile("w+") as output, ThreadPoolExecutor() as threads:
        qwen_options = [*leave_out(others, options), *where]
        of_qwen = threads.submit(run_qwen_tests, marks, qwen_options, output=output)
        of_others = run_pytest(Path(sys.executable), marks, leave_out(qwen_paths, options))
        exit_codes = [of_qwen.result(), of_others]
        output.seek(0)
        shutil.copyfileobj(output, sys.stdout)
    return first_failure(exit_codes)


def leave_out(paths: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the options that are not among `paths`."""
    return [option for option in options if option not in paths]


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
