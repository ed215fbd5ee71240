"""`make bench` measures every figure, and 2,000 listeners on one api process get every event once."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts.purposes import REPOSITORY
from tests.bench.settings import BenchSettings
from tests.support.documents import find_blocks, read_document

MAX_KB_PER_LISTENER = 1_000
"""Far above all measured values: more than this would be a leak, not a slow machine."""


def run_bench(**asked: str) -> subprocess.CompletedProcess[str]:
    """Run the program with these settings."""
    own = {name.upper() for name in BenchSettings.model_fields} - {"SPEECH_DIR"}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [sys.executable, "-m", "tests.bench"],
        cwd=REPOSITORY,
        env={**kept, **asked},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def read_subjects(results: Path) -> Mapping[str, Any]:
    """Return the subjects in the only JSON file of `results`."""
    (path,) = results.glob("*.json")
    subjects: Mapping[str, Any] = json.loads(path.read_text())["subjects"]
    return subjects


def read_counts(subject: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the names and values of all counts of a subject."""
    return ((count["name"], count["here"]) for count in subject["counts"])


def read_bench_command() -> dict[str, str]:
    """Return the settings of the command for benchmarks, which README and docs share."""
    (block,) = {block for block in find_blocks("sh") if block.startswith("make bench QUICK")}
    _, target, *settings = shlex.split(block)
    assert target == "bench"
    return dict(setting.split("=", 1) for setting in settings)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_command_in_readme_measures_every_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_bench(**read_bench_command(), RESULTS=str(tmp_path), REPORT=str(tmp_path / "report.md"))

    with capsys.disabled():  # so that the log of CI shows the figures beside their goals
        sys.stdout.write(f"\n{done.stdout}")
    assert done.returncode == 0
    subjects = read_subjects(tmp_path)
    assert list(subjects) == list(BenchSettings().subjects)
    for name, subject in subjects.items():
        assert subject["figures"], name
        absent = [figure["name"] for figure in subject["figures"] if not figure["here"]]
        assert absent == [], name
    names = {path.name for path in tmp_path.glob("*/*-*.svg")}
    assert {"clips-bars-1.svg", "sync-growth-1.svg", "sync-shares-1.svg", "cold-shares-1.svg"} <= names
    assert (tmp_path / "report.md").read_text().startswith("# Speed on ")


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_measurement_for_gpus_runs_with_the_miniature_on_the_cpu(tmp_path: Path) -> None:
    done = run_bench(GPU="true", DEVICE="cpu", QUICK="1", RESULTS=str(tmp_path))

    assert done.returncode == 0, done.stdout
    figures = {one["name"]: one for one in read_subjects(tmp_path)["gpu"]["figures"]}
    for name in ("first job on a cold worker", "20 s of audio, warm", "first text of 20 s"):
        assert figures[f"qwen3: {name}"]["here"], name
    assert figures["qwen3: times real time, 8 windows at once"]["here"][0] > 0
    assert figures["qwen3-vllm"]["note"] == "there is no .venv-qwen-vllm"


@pytest.mark.full
@pytest.mark.timeout(900)
def test_two_thousand_listeners_get_everything_once_and_in_order(tmp_path: Path) -> None:
    done = run_bench(QUICK="1", ONLY="listeners", LISTENERS="2000", EVENTS="4000", RESULTS=str(tmp_path))

    assert done.returncode == 0, done.stdout
    found = read_subjects(tmp_path)["listeners"]
    counts = dict(read_counts(found))
    assert counts.pop("listeners with one final event, whose stream then ended") == 2_000
    assert set(counts.values()) == {0}
    (memory,) = (figure for figure in found["figures"] if figure["unit"] == "kB")
    assert 0 < min(memory["here"]) < MAX_KB_PER_LISTENER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTENERS", "-1"),
        ("ONLY", "speed"),
        ("QUICK", "rather"),
        ("REPORT", "report"),
        ("RESULTS", "/proc/results"),
        ("SPEECH_DIR", "/proc"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(tmp_path: Path, name: str, value: str) -> None:
    done = run_bench(**{"RESULTS": str(tmp_path), name: value})

    assert done.returncode == 2
    assert done.stdout.startswith(f"{name}={value}: ")
    assert len(done.stdout.splitlines()) == 1


def test_an_interrupted_run_writes_its_report_and_leaves_nothing_else(tmp_path: Path) -> None:
    report, temporary = tmp_path / "report.md", tmp_path / "temporary"
    temporary.mkdir()
    asked = {"QUICK": "1", "ONLY": "sync", "RESULTS": str(tmp_path), "REPORT": str(report)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench"],
        cwd=REPOSITORY,
        env={**os.environ, **asked, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        output = iter(running.stdout or ())
        next(line for line in output if line.startswith("Measuring: sync"))
        running.send_signal(signal.SIGINT)
        rest = "".join(output)

    assert running.returncode == 130
    assert "Not measured: sync." in rest
    assert "**Not measured: sync.**" in report.read_text()
    assert list(temporary.iterdir()) == []


def test_make_runs_the_program_after_it_has_set_up_its_environments() -> None:
    planned = subprocess.run(
        [shutil.which("make") or "make", "--dry-run", f"PYTHON={sys.executable}", "bench"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert planned[-1] == "exec .venv-dev/bin/python -m tests.bench"
    assert any(line.endswith("-m scripts.setup_venv dev") for line in planned[:-1])
    assert any("scripts.setup_venv qwen-dev" in line for line in planned[:-1])


def test_every_subject_of_a_plain_run_is_documented() -> None:
    table = read_document("docs/performance.md").partition("## Subjects")[2].partition("\n## ")[0]
    documented = [row.split("`")[1] for row in table.splitlines() if row.startswith("| `")]
    assert documented == [*BenchSettings(only="").subjects]
