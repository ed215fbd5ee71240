"""What all tests share: the rule for skips, and what the machine may lack."""

import os
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
import structlog

from scripts.purposes import REPOSITORY

# In this order: the others import the first, and asserts are rewritten only in what is not imported yet.
pytest_plugins = (
    "tests.support.redis_fixture",
    "tests.support.record_fixtures",
    "tests.support.scripted_worker",
    "tests.support.api_server",
    "tests.support.server_fixtures",
)

# These run in .venv-qwen, by the second half of `make test`.
collect_ignore = [] if find_spec("torch") else ["qwen"]


def is_all_required() -> bool:
    """Whether a test that cannot run has to count as failed: REQUIRE_ALL=1, as CI sets it."""
    return os.environ.get("REQUIRE_ALL", "0") not in {"", "0"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into a failure where all are required."""
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure where all are required."""
    report = yield
    refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make `report` a failure that gives the reason for the skip, if all tests are required."""
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and is_all_required():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL is set, and this could not run. {reason}"


@pytest.fixture(autouse=True)
def no_log_context() -> None:
    """Drop the log fields that an earlier test bound in this thread."""
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def speech_dir() -> Path:
    """The folder of human speech, which is no part of the repository."""
    folder = os.environ.get("SPEECH_DIR")
    if not folder or not Path(folder, "manifest.tsv").is_file():
        pytest.skip("SPEECH_DIR names no folder of recordings with a manifest.tsv")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def qwen_python() -> Path:
    """The Python of the environment with the CPU build of torch."""
    venv = REPOSITORY / ".venv-qwen"
    if not (venv / "qwen-cpu.stamp").exists():
        pytest.skip(".venv-qwen is not set up: `make test` does it where a CPU build of torch can be had")
    return venv / "bin" / "python"
