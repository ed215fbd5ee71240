"""`make gpu-test` checks the miniature on the CPU, and reports all that needs a GPU as not applicable."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY
from tests.bench.settings import BenchSettings

ON_CPU = {
    "load",
    "compute capability and driver",
    "attention in blocks of 8 s",
    "word errors",
    "equal texts in batches of 16",
    "shortage of memory",
    *(f"stop {phase}" for phase in ("while preparing", "in encoder", "in prefill", "in decoding")),
    "word timestamps after a large batch",
    "first job",
    "word timestamps by HTTP",
    "cancel at the first text",
    "kill -9 of the engine's process",
    "idle unload",
}
ON_GPU_ALONE = {
    "attention of vLLM",
    "word errors with and without blocks",
    "memory of a row, context of 0 bytes",
    "memory of a row, context of 4096 bytes",
    "free memory before and after the cache is emptied",
    "GPU memory after the unload",
    "all checks of the server",
}


def run_test(**asked: str) -> subprocess.CompletedProcess[str]:
    """Run the program with these settings."""
    own = {name.upper() for name in BenchSettings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [sys.executable, "-m", "tests.gpu"],
        cwd=REPOSITORY,
        env={**kept, **asked},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def read_verdicts(report: Path) -> Mapping[str, str]:
    """Return the verdicts by the name of their check."""
    rows = [line.split(" | ") for line in report.read_text().splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): row[2] for row in rows[1:]}


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_checks_for_a_gpu_run_with_the_miniature_on_the_cpu(qwen_python: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.md"

    done = run_test(DEVICE="cpu", REPORT=str(report))

    assert done.returncode == 0, done.stdout
    verdicts = read_verdicts(report)
    assert {name for name in ON_CPU if verdicts[name] != "pass"} == set()
    assert {name for name in ON_GPU_ALONE if verdicts[name] != "not applicable here"} == set()
    assert "FAIL" not in verdicts.values()
    assert "- versions: torch " in report.read_text()


def test_a_setting_that_cannot_be_is_one_line() -> None:
    done = run_test(DEVICE="rather")

    assert done.returncode == 2
    assert done.stdout.startswith("DEVICE=rather: ")


def test_make_sets_up_the_environment_of_the_device() -> None:
    for device, purpose in (("cpu", "qwen-dev"), ("auto", "qwen-cuda")):
        planned = subprocess.run(
            [
                shutil.which("make") or "make",
                "-n",
                f"PYTHON={sys.executable}",
                f"DEVICE={device}",
                "gpu-test",
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"scripts.setup_venv {purpose}" in planned
        assert planned.splitlines()[-1] == "exec .venv-dev/bin/python -m tests.gpu"
