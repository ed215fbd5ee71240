"""The process with the engine `qwen3` for `make gpu-test`: it answers each order on a line with a line.

`python -m tests.gpu.engine_process CLIPS` runs in the environment with torch. CLIPS is a file of numpy with
the samples of each clip. The settings of the worker come from the environment.
"""

import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
import numpy as np

from shared.engine_choice import find_nvidia_devices
from tests.gpu import messages
from tests.gpu.engine_rig import EngineRig
from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3 import device, vllm_engine

MODULE = "tests.gpu.engine_process"
PACKAGES = ("torch", "transformers", "qwen-asr", "flash-attn", "vllm", "numpy")
DEVICES = ("auto", "cuda", "cpu")


def describe_device() -> messages.DeviceFacts:
    """Return the facts about the device, and the decisions that follow from them."""
    import torch  # noqa: PLC0415 - as in the engine, torch is imported on demand

    driver = find_nvidia_devices()
    has_gpu = torch.cuda.is_available()
    capability = torch.cuda.get_device_capability() if has_gpu else driver.capability
    dtype = vllm_engine._choose_dtype(capability[0])
    attention = vllm_engine._choose_attention(capability[0], dtype)
    return messages.DeviceFacts(
        versions={name: _find_version(name) for name in PACKAGES}
        | {"CUDA of torch": str(torch.version.cuda)},
        driver_cuda=".".join(map(str, driver.cuda_version)),
        capability=".".join(map(str, capability)),
        architectures=torch.cuda.get_arch_list(),
        decisions={wanted: _decide(torch, wanted) for wanted in DEVICES},
        has_gpu=has_gpu,
        has_computed=has_gpu and _compute(torch),
        vllm_attention=str(attention.get("attention_config", {}).get("backend", "vLLM's own choice")),
        has_nvcc=shutil.which("nvcc") is not None,
    )


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _decide(torch: Any, wanted: str) -> str:
    try:
        return device.choose_device(torch, wanted)
    except ModelUnavailable as error:
        return f"refused: {error}"


def _compute(torch: Any) -> bool:
    """Return whether the GPU runs a kernel."""
    with suppress(RuntimeError):
        return bool((torch.ones(2, device="cuda") + 1).sum().item() == 2 * 2)
    return False


def answer(  # noqa: PLR0911 - one for each order
    order: messages.Order, rig: EngineRig
) -> msgspec.Struct:
    """Follow an order, and return its answer."""
    match order:
        case messages.DescribeDevice():
            return describe_device()
        case messages.LoadModel():
            return rig.load()
        case messages.DecodeClips(rows=rows, keeps_blocks=keeps_blocks):
            return rig.decode_clips(rows, keeps_blocks=keeps_blocks)
        case messages.CompareBlocks():
            return rig.compare_blocks()
        case messages.MeasureMemory(rows=rows, context_bytes=context_bytes):
            return rig.measure_memory(rows, context_bytes)
        case messages.ForceShortage(fitting=fitting, left_bytes=left_bytes):
            return rig.force_shortage(fitting, left_bytes)
        case messages.StopDuring(phase=phase, rows=rows):
            return rig.stop_during(phase, rows)
        case messages.AlignWords():
            return rig.align_words()


def serve_lines(clips: Sequence[Any]) -> None:
    """Answer each order until standard input ends."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    rig = EngineRig(clips)
    for line in sys.stdin:
        found = answer(messages.order_decoder.decode(line), rig)
        answers.write(messages.encode_answer(found) + b"\n")
        answers.flush()


if __name__ == "__main__":
    # Ctrl-C reaches the whole group: the test ends this process, without a traceback of its own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with np.load(sys.argv[1]) as loaded:
        serve_lines([loaded[name] for name in loaded.files])
