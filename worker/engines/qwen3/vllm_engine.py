"""The engine `qwen3-vllm`: Qwen3-ASR on vLLM, which is imported in `load`."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.protocol import ModelUnavailable, PhaseReporter
from worker.engines.qwen3.engine import WindowDecoder
from worker.engines.qwen3.loading import defer_nagisa, find_qwen3_weights, silence_transformers
from worker.engines.qwen3.sequence_rules import DEFAULT_RULES, SequenceRules
from worker.engines.qwen3.vllm_model import VllmModel
from worker.engines.qwen3.words import Aligner, WordTimer
from worker.settings import WorkerSettings

REQUIREMENTS = "requirements/qwen-vllm.txt"

_ARCHITECTURE = "Qwen3ASRForConditionalGeneration"
_BATCH_WINDOWS = 64
# vLLM continues so many requests at once, for each row and the clips whose language is detected. It queues
# further ones, and keeps within its memory.
_REQUESTS_PER_ROW = 2

_AUDIO_TOKENS_PER_S = 13
# The frame around the client's context, of which each byte may be a token.
_FRAME_TOKENS = 64

# vLLM reads these from the environment. `spawn` starts its process afresh: a fork would lack our threads and
# hold the channel to our host open. Either way the process is in our group and ends with it.
_VLLM_ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
# Folders beside the weights, which outlive a container. Without them, each load compiles kernels anew.
_VLLM_CACHES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
}
# From this compute capability on (Ampere), GPUs compute in bfloat16.
_AMPERE = 8
# By the major compute capability where vLLM prefers FlashInfer: Turing (as T4), and B200 and B300.
_ATTENTION_WITHOUT_COMPILER = {7: "TRITON_ATTN", 10: "FLASH_ATTN"}


class Qwen3VllmEngine(WindowDecoder):
    """The engine `qwen3-vllm`; `worker.engines.protocol.Engine` describes its methods."""

    joins_rows = True
    _model: VllmModel

    def __init__(self, settings: WorkerSettings, *, rules: SequenceRules = DEFAULT_RULES) -> None:
        super().__init__(settings, WordTimer(_load_no_aligner, languages=()), rules)
        self.batch_windows = settings.batch_windows or _BATCH_WINDOWS  # vLLM itself keeps within its memory

    def load(self, report_phase: PhaseReporter) -> str:
        """Import vLLM, find or download the weights, and start vLLM's process with them."""
        _check_device(self._settings.device)
        report_phase("importing libraries")
        _import_vllm(self._settings.models_dir)
        report_phase("finding weights")
        folder = find_qwen3_weights(self._settings.model_id)
        report_phase("starting vLLM")
        try:
            self._model = VllmModel(folder, self._choose_options())
        except Exception as error:  # border: damaged files raise errors of many libraries
            raise ModelUnavailable(
                f"vLLM cannot start with the model in {folder} ({error}). Its log has the reason. If less "
                f"than {self._settings.vllm_gpu_memory:.0%} of the GPU's memory is free, free some or lower "
                "VLLM_GPU_MEMORY."
            ) from error
        return "cuda:0"

    def _choose_options(self) -> dict[str, Any]:
        """Return the options of vLLM that depend on the settings; the longest window and context fit."""
        settings = self._settings
        window_tokens = count_window_tokens(settings.window_s, self._rules)
        generation = _read_generation()
        dtype = settings.dtype if settings.dtype != "auto" else _choose_dtype(generation)
        return _choose_attention(generation, dtype) | {
            # Otherwise vLLM looks for the format in a file that it does not find, and waits 2 s.
            "dtype": dtype,
            "gpu_memory_utilization": settings.vllm_gpu_memory,
            "max_model_len": _FRAME_TOKENS + settings.max_context_bytes + window_tokens,
            "max_num_seqs": _REQUESTS_PER_ROW * self.batch_windows,
        }


def count_window_tokens(window_s: float, rules: SequenceRules) -> int:
    """Return the most tokens that a window of `window_s` seconds and its text take, with all repairs."""
    max_tokens = rules.count_max_tokens(round(window_s * SAMPLE_RATE_HZ))
    # Each repair of a truncation doubles the tokens: 1 + 2 + 4 … A loop and an echo take a limit each.
    limits: int = 2 ** (rules.truncation_repairs + 1) + 1
    return round(window_s * _AUDIO_TOKENS_PER_S) + max_tokens * limits


def _load_no_aligner() -> Aligner:
    raise ModelUnavailable("ENGINE=qwen3-vllm has no word timestamps yet; ENGINE=qwen3 has.")


def _check_device(device: str) -> None:
    if device not in {"auto", "cuda", "cuda:0"}:
        raise ModelUnavailable(
            f"DEVICE={device}: ENGINE=qwen3-vllm runs on the first visible CUDA device. "
            "Choose it by CUDA_VISIBLE_DEVICES and do not set DEVICE, or set ENGINE=qwen3."
        )


def _read_generation() -> int:
    """Return the major compute capability of the first GPU; 0 if vLLM finds none."""
    from vllm.platforms import current_platform

    capability = current_platform.get_device_capability()
    return capability.major if capability else 0


def _choose_dtype(generation: int) -> str:
    return "bfloat16" if generation >= _AMPERE else "float16"


def _choose_attention(generation: int, dtype: str) -> dict[str, Any]:
    """Return the option for another attention where vLLM would take FlashInfer, which needs CUDA's compiler.

    FlashInfer and FlashAttention do not compute in float32. There, vLLM chooses well.
    """
    backend = _ATTENTION_WITHOUT_COMPILER.get(generation)
    if backend is None or dtype == "float32" or shutil.which("nvcc"):
        return {}
    return {"attention_config": {"backend": backend}}


def _import_vllm(models_dir: Path) -> None:
    """Import vLLM and Qwen's package, which registers its model with vLLM; `models_dir` keeps kernels."""
    caches = {name: str(models_dir.resolve() / folder) for name, folder in _VLLM_CACHES.items()}
    for name, setting in (_VLLM_ENVIRONMENT | caches).items():
        os.environ.setdefault(name, setting)
    defer_nagisa()
    try:
        import qwen_asr  # noqa: F401 - the import registers the model
        import vllm
    except ImportError as error:
        raise ModelUnavailable(
            f"ENGINE=qwen3-vllm needs the package {error.name}, which cannot be imported in {sys.prefix} "
            f"({error}). `make run ENGINE=qwen3-vllm` sets up an environment from {REQUIREMENTS}."
        ) from error
    silence_transformers()
    # Qwen's package reports nothing if its model does not fit the installed vLLM.
    if _ARCHITECTURE not in vllm.ModelRegistry.get_supported_archs():
        raise ModelUnavailable(
            f"vLLM {vllm.__version__} does not support {_ARCHITECTURE}. Qwen's package fits one version of "
            f"vLLM: install the one in {REQUIREMENTS}."
        )
