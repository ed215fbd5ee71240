"""The Qwen engines that are measured and tested on a GPU, or on the CPU with the miniature."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from scripts.purposes import PURPOSES, REPOSITORY
from scripts.run_tests import find_qwen_python
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.support.qwen_server import SETTINGS as MINIATURE

IDLE_TIMEOUT_S = "5"
WINDOW_S = 30.0
NO_MEMORY = "there is no nvidia-smi"


@dataclass(frozen=True)
class GpuTarget:
    """The environment and the settings of an engine."""

    name: str
    python: Path
    settings: Mapping[str, str]
    window_s: float


def choose_target(settings: BenchSettings) -> GpuTarget | None:
    """Return the engine on torch, or None if its environment is not set up."""
    if settings.device == "cpu":
        qwen = find_qwen_python()
        return GpuTarget("qwen3", qwen, MINIATURE, float(MINIATURE["WINDOW_S"])) if qwen else None
    python = REPOSITORY / PURPOSES["qwen-cuda"].venv / "bin" / "python"
    chosen = {"ENGINE": "qwen3", "DEVICE": settings.device} | _name_model(settings)
    return GpuTarget("qwen3", python, chosen, WINDOW_S) if python.exists() else None


def choose_vllm(settings: BenchSettings) -> GpuTarget | None:
    """Return the engine on vLLM, or None without a GPU or its environment."""
    python = REPOSITORY / PURPOSES["qwen-vllm"].venv / "bin" / "python"
    is_usable = settings.device != "cpu" and python.exists()
    chosen = {"ENGINE": "qwen3-vllm"} | _name_model(settings)
    return GpuTarget("qwen3-vllm", python, chosen, WINDOW_S) if is_usable else None


def _name_model(settings: BenchSettings) -> dict[str, str]:
    """Return the model, and one cache for all servers: else each downloads the weights again."""
    is_chosen = os.environ.get("HF_HOME") or os.environ.get("HF_HUB_CACHE")
    cache = {} if is_chosen else {"HF_HOME": str(Path.home() / ".cache" / "huggingface")}
    return cache | ({"MODEL_ID": settings.model_id} if settings.model_id else {})


def describe_model(settings: BenchSettings) -> str:
    """Return a name of the model for the report."""
    return "the miniature" if settings.device == "cpu" else settings.model_id or "the default model"


def serve_target(
    target: GpuTarget, folder: Path, **settings: str
) -> AbstractAsyncContextManager[BenchServer]:
    """Start a server with the engine, which unloads its model soon after the last job."""
    chosen = {**target.settings, "IDLE_TIMEOUT": IDLE_TIMEOUT_S, **settings}
    return serve(folder, python=target.python, **chosen)


def read_gpu_memory_mib() -> float | None:
    """Return the memory in use on all NVIDIA devices; None without nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(sum(map(int, output.split())))
