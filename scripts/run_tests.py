"""Run the tests in both environments: `python -m scripts.run_tests <marks> [options of pytest]`.

Those in tests/qwen run in `.venv-qwen` where that is set up, all others then in `.venv`. Each run says at its
end how many passed, and the exit code is that of the first which did not succeed.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts.purposes import PURPOSES, REPOSITORY
from scripts.virtual_environment import VirtualEnvironment

QWEN_TESTS = "tests/qwen"
NOTHING_SELECTED = 5  # pytest's exit code


def run_pytest(python: Path, marks: str, options: Sequence[str]) -> int:
    """Run pytest from this environment, on its terminal, and return the exit code."""
    command = [str(python), "-m", "pytest", "-m", marks, "--durations=10", *options]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def find_qwen_python() -> Path | None:
    """The Python of the environment with torch and the tools for tests, if that is set up."""
    purpose = PURPOSES["qwen-dev"]
    venv = VirtualEnvironment(REPOSITORY / purpose.venv)
    return venv.python if venv.is_ready(purpose.name, purpose.inputs) else None


def is_of_qwen(option: str) -> bool:
    """Whether an option is the path of tests for the environment with torch."""
    return Path(option.partition("::")[0]).is_relative_to(QWEN_TESTS)


def is_path(option: str) -> bool:
    """Whether an option names a file, a folder, or a test in a file."""
    return (REPOSITORY / option.partition("::")[0]).exists()


def first_failure(exit_codes: Iterable[int]) -> int:
    """The first exit code that is no success; that a run had nothing to do counts if all had."""
    codes = list(exit_codes)
    return next((code for code in codes if code not in {0, NOTHING_SELECTED}), min(codes))


def run_tests(marks: str, options: Sequence[str]) -> int:
    """Run what `marks` and `options` select in each environment, and return the exit code for both."""
    paths = [option for option in options if is_path(option)]
    of_qwen = [path for path in paths if is_of_qwen(path)]
    others = [path for path in paths if path not in of_qwen]
    exit_codes = []
    if of_qwen or not paths:
        where = [] if paths else [QWEN_TESTS]
        exit_codes.append(run_qwen_tests(marks, [*leave_out(others, options), *where]))
    # Last, since what is read of a long output is its end, and this run always has something to do.
    if others or not paths:
        exit_codes.append(run_pytest(Path(sys.executable), marks, leave_out(of_qwen, options)))
    return first_failure(exit_codes)


def leave_out(paths: Sequence[str], options: Sequence[str]) -> list[str]:
    """The options that are not among `paths`."""
    return [option for option in options if option not in paths]


def run_qwen_tests(marks: str, options: Sequence[str]) -> int:
    """Run tests in the environment with torch; where it is not set up, say so.

    A test of the other run fails for that reason where all tests are required.
    """
    python = find_qwen_python()
    if python is None:
        print(f"{QWEN_TESTS} is left out: {PURPOSES['qwen-dev'].venv} is not set up", flush=True)
        return NOTHING_SELECTED
    return run_pytest(python, f"qwen and ({marks})", options)


def main() -> int:
    """Run the tests that the command line names; Ctrl-C has been answered by pytest."""
    try:
        return run_tests(sys.argv[1], sys.argv[2:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
