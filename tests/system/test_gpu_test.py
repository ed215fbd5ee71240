"""`make gpu-test` checks the miniature on the CPU, and reports all that needs a GPU as not applicable."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from scripts.purposes import REPOSITORY
from shared.engine_choice import find_nvidia_devices
from tests.bench.line_process import LineProcess
from tests.bench.settings import BenchSettings
from tests.gpu import speech
from tests.gpu.engine_checks import EngineProbe
from tests.gpu.fitness import describe_fitness
from tests.gpu.messages import DeviceFacts, encode_answer
from tests.gpu.plan import DEVICE, LOAD, OF_ENGINE, OF_SERVER
from tests.gpu.verdicts import ALL_OF_SERVER, Check, Outcome

ON_CPU = {
    "load",
    "compute capability and driver",
    "attention in blocks of 8 s",
    "word errors",
    "texts in batches of 16",
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


def start_test(**asked: str) -> subprocess.Popen[str]:
    """Start the program with these settings, in a process group of its own."""
    own = {name.upper() for name in BenchSettings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gpu"],
        cwd=REPOSITORY,
        env={**kept, **asked},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_test(**asked: str) -> subprocess.CompletedProcess[str]:
    """Run the program with these settings to its end."""
    with start_test(**asked) as process:
        stdout, _ = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout)


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
    assert {*OF_ENGINE, *OF_SERVER} - {*verdicts} == set()
    assert "- versions: torch " in report.read_text()
    assert report.read_text().startswith("This run says nothing about a GPU.\n")
    assert done.stdout.splitlines()[-1] == "This run says nothing about a GPU."


def test_an_interrupted_run_names_what_was_not_run(qwen_python: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    settings = {"DEVICE": "cpu", "REPORT": str(report), "MODEL_ID": "some/model"}
    with start_test(**settings) as process:
        assert process.stdout is not None
        first = [process.stdout.readline(), process.stdout.readline()]
        assert report.read_text().startswith("unfinished")
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()

    assert process.returncode == 130
    assert first[0] == "MODEL_ID=some/model is ignored: DEVICE=cpu tries the miniature.\n"
    assert first[1].startswith("pass: compute capability and driver")
    assert "Traceback" not in rest
    assert rest.splitlines()[-1].startswith("Interrupted after ")
    assert report.read_text().startswith("INTERRUPTED after ")
    assert "; not run: " in report.read_text()
    assert "kill -9 of the engine's process (qwen3)" in report.read_text().splitlines()[0]


@pytest.mark.parametrize("target", ["gpu-test", "bench-gpu"])
def test_without_a_gpu_make_refuses_before_it_installs_anything(target: str) -> None:
    if find_nvidia_devices().count:
        pytest.skip("this machine has a GPU")
    make = shutil.which("make") or "make"

    done = subprocess.run(
        [make, f"PYTHON={sys.executable}", "DEVICE=auto", target],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("This machine shows no NVIDIA GPU. Install the driver (580 or newer)")
    assert f"run `make {target} DEVICE=cpu`" in done.stderr


def test_an_engine_is_fit_only_if_no_check_of_it_failed() -> None:
    passed = Check(LOAD, "qwen3").judge("cuda:0, 16 rows (limit 16)", is_good=True)
    failed = Check(DEVICE, "qwen3").judge("DEVICE=cuda: refused: too old", is_good=False)
    left_out = Check(ALL_OF_SERVER, "qwen3-vllm").leave_out("there is no .venv-qwen-vllm")

    fit, unknown = describe_fitness([passed, left_out], device="auto")
    unfit, _ = describe_fitness([passed, failed], device="auto")

    assert fit == "qwen3: this machine is fit. load: cuda:0, 16 rows (limit 16)."
    assert unknown == "qwen3-vllm: not checked, there is no .venv-qwen-vllm."
    assert unfit.startswith(
        "qwen3: this machine is NOT FIT. FAIL: compute capability and driver: DEVICE=cuda"
    )


def test_the_docs_name_each_check_as_the_report_does() -> None:
    rows = (REPOSITORY / "docs" / "performance.md").read_text().splitlines()
    named = [name for row in rows if row.startswith("| ") for name in row.split(" | ")[0][2:].split("; ")]

    assert {*OF_ENGINE, *OF_SERVER} - {*named} == set()


async def test_a_missing_gpu_is_a_failure_unless_the_cpu_is_wanted() -> None:
    facts = DeviceFacts(
        versions={},
        driver_cuda="0.0",
        capability="0.0",
        architectures=[],
        decisions={"cuda": "refused: none"},
        has_gpu=False,
        has_computed=False,
        vllm_attention="",
        has_nvcc=False,
    )

    class Absent:
        async def ask(self, _order: bytes) -> bytes:
            return encode_answer(facts)

    for device, expected in (("cpu", Outcome.PASSED), ("auto", Outcome.FAILED), ("cuda", Outcome.FAILED)):
        probe = EngineProbe(cast("LineProcess", Absent()), speech.TestSpeech([], "none"), device=device)
        verdicts = [verdict async for verdict in probe.check_device()]
        assert verdicts[0].outcome is expected


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
