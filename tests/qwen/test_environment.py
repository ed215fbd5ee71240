"""The environment for Qwen3-ASR has a CPU build of torch, Qwen's package, and all that a worker needs."""

import subprocess
import sys
from importlib.metadata import distributions, version

import pytest
import torch

from scripts.purposes import REPOSITORY

PARTS = ("api.app", "cli.up.composition", "worker.model.process", "worker.runtime")


def run_python(program: str) -> str:
    """The output of a fresh Python of this environment."""
    command = [sys.executable, "-P", "-c", program]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout


def test_torch_is_a_cpu_build_and_nothing_of_cuda_is_installed() -> None:
    assert torch.version.cuda is None
    assert not torch.cuda.is_available()
    names = {found.name.lower() for found in distributions()}
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "triton"))]


def test_torch_computes() -> None:
    assert float((torch.ones(2, 3) @ torch.ones(3, 2)).sum()) == 12


def test_qwens_package_loads_with_the_transformers_that_it_pins() -> None:
    run_python("from qwen_asr import Qwen3ASRModel, Qwen3ForcedAligner")

    assert version("qwen-asr") == "0.0.6"
    assert version("transformers") == "4.57.6"


@pytest.mark.parametrize("part", PARTS)
def test_all_parts_of_the_server_load_here_without_torch(part: str) -> None:
    loaded = run_python(f"import sys, {part}; print(*sys.modules)").split()

    assert {"torch", "transformers", "qwen_asr"}.isdisjoint(loaded)


@pytest.mark.parametrize("package", ["api", "shared", "worker"])
def test_the_packages_are_those_of_the_repository(package: str) -> None:
    where = run_python(f"import {package}; print({package}.__file__)").strip()

    assert where == str(REPOSITORY / package / "__init__.py")
