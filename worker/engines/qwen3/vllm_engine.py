"""Qwen3-ASR by vLLM: the only module that imports it, once it has to load."""

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import (
    DecodingListener,
    ModelUnavailable,
    PhaseReporter,
    Window,
    WindowTranscript,
)
from worker.engines.qwen3.aligner_timing import Aligner, WordTimer
from worker.engines.qwen3.decoding import BatchDecoding
from worker.engines.qwen3.imports import defer_nagisa, silence_transformers
from worker.engines.qwen3.inputs import pad_samples
from worker.engines.qwen3.parts import compose_transcripts
from worker.engines.qwen3.probe import cut_at_language_changes
from worker.engines.qwen3.prompts import build_prompt
from worker.engines.qwen3.row import END_TOKENS, Prompt, RowRules
from worker.engines.qwen3.text import token_limit
from worker.engines.qwen3.vllm_requests import StoppableGenerator
from worker.engines.qwen3.weights import find_qwen3_weights

REQUIREMENTS = "requirements/qwen-vllm.txt"

_ARCHITECTURE = "Qwen3ASRForConditionalGeneration"
_BATCH_WINDOWS = 16
_MAX_REQUESTS = 64  # at once: for its language a window is asked of in pieces; more wait their turn
_REPETITION_PENALTY = 1.2

_AUDIO_TOKENS_PER_S = 13
# What frames the client's context, of which each byte may be a token.
_FRAME_TOKENS = 64

# What vLLM reads from the environment. Its process is started afresh: a fork would lack our threads and hold
# the channel to our host open. Either way it is in our group and ends with it. It reports to nobody.
_VLLM_ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


class Qwen3VllmConfig(msgspec.Struct, frozen=True):
    """Which model, and how much of the GPU it gets.

    `model_id` is a name on the hub or a folder; `gpu_memory` is the share of the GPU's memory that vLLM takes
    for weights and cache; `window_s` is the longest window; `batch_windows` of 0 means as many as usual;
    there is room for a context of `max_context_bytes`.
    """

    model_id: str
    device: str = "auto"
    dtype: str = "auto"
    gpu_memory: float = 0.7
    window_s: float = 30.0
    batch_windows: int = 0
    max_context_bytes: int = 4096
    language_changes: LanguageChanges = LanguageChanges.PAUSES
    rules: RowRules = RowRules()


class Qwen3VllmEngine:
    """The engine `qwen3-vllm`; its methods are described at `worker.engines.protocol.Engine`."""

    needs_speech = True
    _model: "VllmModel"  # since `load`

    def __init__(self, config: Qwen3VllmConfig) -> None:
        self._config = config
        self._timer = WordTimer(_load_no_aligner, languages=())

    @property
    def batch_windows(self) -> int:
        """How many windows are decoded at once at the most; vLLM itself sees what memory allows."""
        return self._config.batch_windows or _BATCH_WINDOWS

    def load(self, report_phase: PhaseReporter) -> str:
        """Import vLLM, find or fetch the weights, and have vLLM start its process with them."""
        _check_device(self._config.device)
        report_phase("importing libraries")
        _import_vllm()
        report_phase("finding weights")
        folder = find_qwen3_weights(self._config.model_id)
        report_phase("starting vLLM")
        try:
            self._model = VllmModel(folder, self._config)
        except Exception as error:  # border: damaged files raise errors of many libraries
            raise ModelUnavailable(
                f"vLLM cannot start with the model in {folder} ({error}); what it logged before says why. "
                f"It wants {self._config.gpu_memory:.0%} of the GPU's memory to be free: where less is, free "
                "some or lower VLLM_GPU_MEMORY."
            ) from error
        return "cuda:0"

    def decode_windows(
        self,
        windows: Sequence[Window],
        request: TranscriptionRequest,
        listener: DecodingListener,
        *,
        previous_language: str | None = None,
    ) -> list[WindowTranscript]:
        """Transcribe the windows at once; partials come by the token."""
        generator = StoppableGenerator(self._model, listener.is_stopped)
        changes = LanguageChanges.OFF if request.language_hint else self._config.language_changes
        cut = cut_at_language_changes(generator, windows, listener, changes)
        decoding = BatchDecoding(generator, cut.parts, request, listener, self._config.rules)
        parts = decoding.decode(previous_language=previous_language)
        transcripts = compose_transcripts(windows, self._timer.time_words(parts, request, listener))
        return cut.warn(windows, transcripts)


class VllmModel:
    """vLLM with the model in a process of its own, and Qwen's processor in this one."""

    def __init__(self, folder: Path, config: Qwen3VllmConfig) -> None:
        from qwen_asr.core.transformers_backend import Qwen3ASRProcessor
        from vllm import LLM

        # With the flag, transformers would cut the words of a local model as Mistral's tokenizer does.
        self._processor: Any = Qwen3ASRProcessor.from_pretrained(str(folder), fix_mistral_regex=False)
        self._engine: Any = LLM(
            model=str(folder),
            dtype=config.dtype,
            gpu_memory_utilization=config.gpu_memory,
            max_model_len=_FRAME_TOKENS
            + config.max_context_bytes
            + count_most_tokens(config.window_s, config.rules),
            max_num_seqs=_MAX_REQUESTS,
            limit_mm_per_prompt={"audio": 1},
            mm_processor_cache_gb=0,  # of features of windows, which never come again
        ).llm_engine
        self._request_ids = itertools.count(1)

    def decode_tokens(self, tokens: list[int]) -> str:
        """The text of `tokens`; a character of which bytes are missing is U+FFFD."""
        return self._processor.tokenizer.decode(  # type: ignore[no-any-return]
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def add_request(
        self, prompt: Prompt, *, max_new_tokens: int, avoid_repeats: bool, temperature: float
    ) -> str:
        """Have vLLM continue `prompt`, and return the name of the request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        request_id = str(next(self._request_ids))
        text = build_prompt(self._processor, prompt.context, prompt.language)
        tokens = self._processor.tokenizer(text)["input_ids"]
        self._engine.add_request(
            request_id,
            {
                "prompt_token_ids": [*tokens, *prompt.said],
                "multi_modal_data": {"audio": [pad_samples(prompt.samples)]},
            },
            SamplingParams(
                temperature=temperature,
                max_tokens=max_new_tokens,
                stop_token_ids=sorted(END_TOKENS),
                repetition_penalty=_REPETITION_PENALTY if avoid_repeats else 1.0,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            ),
        )
        return request_id

    def step(self) -> Sequence[Any]:
        """Wait for new tokens: vLLM's RequestOutput for each request that has some."""
        return self._engine.step()  # type: ignore[no-any-return]

    def abort(self, request_ids: Sequence[str]) -> None:
        """End requests; those that have ended already are passed over."""
        if request_ids:
            self._engine.abort_request(list(request_ids))


def count_most_tokens(window_s: float, rules: RowRules) -> int:
    """How many tokens a window of `window_s` seconds and its text take, when all repairs are needed."""
    limit = rules.max_new_tokens or token_limit(
        round(window_s * SAMPLE_RATE_HZ), tokens_per_s=rules.tokens_per_s, least=rules.least_tokens
    )
    # Each going on takes twice as many as the last one, and a loop or an echo two limits more.
    limits: int = 2 ** (rules.truncation_repairs + 1) + 1
    return round(window_s * _AUDIO_TOKENS_PER_S) + limit * limits


def _load_no_aligner() -> Aligner:
    raise ModelUnavailable("ENGINE=qwen3-vllm has no word timestamps yet; ENGINE=qwen3 has.")


def _check_device(device: str) -> None:
    if device not in {"auto", "cuda", "cuda:0"}:
        raise ModelUnavailable(
            f"DEVICE={device}: ENGINE=qwen3-vllm runs on the first CUDA device that it is shown. "
            "Choose that by CUDA_VISIBLE_DEVICES and leave DEVICE alone, or set ENGINE=qwen3."
        )


def _import_vllm() -> None:
    """Import vLLM and Qwen's package, which makes its model known to vLLM."""
    for name, setting in _VLLM_ENVIRONMENT.items():
        os.environ.setdefault(name, setting)
    defer_nagisa()
    try:
        import qwen_asr  # noqa: F401 - this is what makes it known
        import vllm
    except ImportError as error:
        raise ModelUnavailable(
            f"ENGINE=qwen3-vllm needs the package {error.name}, which cannot be imported in {sys.prefix} "
            f"({error}). `make run ENGINE=qwen3-vllm` sets up an environment from {REQUIREMENTS}."
        ) from error
    silence_transformers()
    # Qwen's package keeps silent where its model does not fit the vLLM that is installed.
    if _ARCHITECTURE not in vllm.ModelRegistry.get_supported_archs():
        raise ModelUnavailable(
            f"vLLM {vllm.__version__} does not know {_ARCHITECTURE}: Qwen's package fits one version of vLLM "
            f"alone, that in {REQUIREMENTS}."
        )
