"""`make test` runs each test in its environment, and fails if either run fails."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from scripts import run_tests

QWEN_PYTHON = Path("python-with-torch")
OF_QWEN, OF_OTHERS = "tests/qwen/test_environment.py", "tests/unit/test_locks.py"
Runs = list[tuple[str, list[str]]]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """The runs of pytest that are requested: where, and with which options. None is executed."""
    asked: Runs = []

    def note(python: Path, marks: str, options: Sequence[str], *, output: IO[str] | None = None) -> int:
        asked.append(("main" if python == Path(sys.executable) else marks, list(options)))
        print("passed", file=output)
        return 0

    monkeypatch.setattr(run_tests, "run_pytest", note)
    monkeypatch.setattr(run_tests, "find_qwen_python", lambda: QWEN_PYTHON)
    return asked


def test_all_tests_run_each_in_its_environment(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tests.run_tests("full", []) == 0

    assert sorted(runs) == [
        ("main", ["--ignore=tests/system", "--ignore=tests/browser"]),
        ("main", ["tests/system", "tests/browser"]),
        ("qwen and (full)", ["tests/qwen"]),
    ]
    assert capsys.readouterr().out == "passed\n" * 3


def test_options_go_to_all_runs(runs: Runs) -> None:
    run_tests.run_tests("full", ["-k", "queue"])

    assert [options[:2] for _, options in runs] == [["-k", "queue"]] * 3


@pytest.mark.parametrize(("path", "where"), [(OF_OTHERS, "main"), (f"{OF_QWEN}::test_a", "qwen and (full)")])
def test_a_path_runs_where_it_belongs_and_nowhere_else(runs: Runs, path: str, where: str) -> None:
    run_tests.run_tests("full", ["-x", path])

    assert runs == [(where, ["-x", path])]


def test_paths_of_both_kinds_go_to_their_own_run(runs: Runs) -> None:
    run_tests.run_tests("full", [OF_QWEN, "-x", OF_OTHERS])

    assert sorted(runs) == [("main", ["-x", OF_OTHERS]), ("qwen and (full)", [OF_QWEN, "-x"])]


def test_without_the_environment_the_rest_runs_and_a_line_says_so(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_tests, "find_qwen_python", lambda: None)

    assert run_tests.run_tests("full", []) == 0

    assert [where for where, _ in runs] == ["main"] * 2
    assert capsys.readouterr().out == "passed\ntests/qwen is skipped: .venv-qwen is not set up\npassed\n"


@pytest.mark.parametrize(
    ("exit_codes", "expected"),
    [([0, 0], 0), ([1, 0], 1), ([0, 1], 1), ([2, 1], 2), ([0, 5], 0), ([5, 0], 0), ([5, 1], 1), ([5, 5], 5)],
)
def test_a_failure_of_any_run_fails_and_so_do_empty_runs(exit_codes: list[int], expected: int) -> None:
    assert run_tests.first_failure(exit_codes) == expected


def test_a_failed_run_does_not_prevent_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = iter([1, 0, 0])
    monkeypatch.setattr(run_tests, "run_pytest", lambda *_, **__: next(ended))
    monkeypatch.setattr(run_tests, "find_qwen_python", lambda: QWEN_PYTHON)

    assert run_tests.run_tests("full", []) == 1

    assert next(ended, None) is None
