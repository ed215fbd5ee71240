"""Under load, a server whose parts are killed, frozen and disconnected loses, doubles and garbles no job."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY
from tests.chaos.checks import Harm
from tests.chaos.faults import FaultKind
from tests.chaos.mix import DOOMED, Endpoint


@pytest.mark.full
@pytest.mark.timeout(1_500)
def test_no_fault_costs_a_job(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    settings = {"JOBS": "300", "FAULTS": "12", "LEASE_S": "3", "SEED": "1", "REPORT": str(report)}

    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos"],
        cwd=REPOSITORY,
        env={**os.environ, "ENGINE": "scripted", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    rows = {line.split(" | ")[0].strip("| "): line for line in report.read_text().splitlines()}
    assert all(f"| {kind} | " in rows[kind] and f"| {kind} | 0 |" not in rows[kind] for kind in FaultKind)
    for harm in Harm:
        assert rows[f"jobs {harm}"].startswith(f"| jobs {harm} | 0 | 0 | met")
    by_endpoint = {
        endpoint: int(count) for count, endpoint in re.findall(r"(\d+) ([^ ,]+)", rows["jobs by endpoint"])
    }
    assert sum(by_endpoint.values()) >= 300
    assert all(by_endpoint[endpoint] >= 20 for endpoint in Endpoint)
    for ending in DOOMED:
        assert re.search(r"\| [1-3] of 3 \|", rows[f"jobs that ended by {ending}, with companions"])
    unexplained = "stream errors that the record does not explain"
    assert rows[unexplained].startswith(f"| {unexplained} | 0 | 0 | met")


@pytest.mark.parametrize("wrong", [{"JOBS": "0"}, {"POOL": "prefork"}, {"ENGINE": "qwen3"}])
def test_an_invalid_setting_is_one_line(wrong: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos"],
        cwd=REPOSITORY,
        env={**os.environ, **wrong},
        capture_output=True,
        text=True,
        check=False,
    )
    ((name, value),) = wrong.items()
    assert done.returncode == 2
    assert done.stdout.startswith(f"{name}={value}: ")
    assert len(done.stdout.splitlines()) == 1
