"""Qwen3-ASR by Qwen's own package on torch: imports both only once it has to load."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared.jobs import TranscriptionRequest
from shared.transcripts import TokenCounts
from worker.engines.catalog import LanguageChanges, find_word_languages
from worker.engines.protocol import (
    LOADED,
    DecodingListener,
    ModelUnavailable,
    PhaseReporter,
    Window,
    WindowTranscript,
)
from worker.engines.qwen3.aligner import Qwen3Aligner, load_aligner
from worker.engines.qwen3.aligner_timing import WordTimer
from worker.engines.qwen3.decoding import BatchDecoding, FollowTokens, OutOfDeviceMemory
from worker.engines.qwen3.device import (
    Placement,
    choose_attention,
    choose_batch_windows,
    choose_device,
    choose_dtype,
)
from worker.engines.qwen3.device_loss import watch_device
from worker.engines.qwen3.imports import defer_nagisa, hide_unused_packages, silence_transformers
from worker.engines.qwen3.inputs import PAD_TOKEN, PreparedRow, choose_sampling, collate_rows, pad_samples
from worker.engines.qwen3.loading import place_weights
from worker.engines.qwen3.parts import compose_transcripts
from worker.engines.qwen3.probe import cut_at_language_changes
from worker.engines.qwen3.prompts import build_prompt
from worker.engines.qwen3.row import END_TOKENS, Prompt, RowRules
from worker.engines.qwen3.weights import find_qwen3_weights

_REPETITION_PENALTY = 1.2


class Qwen3Config(msgspec.Struct, frozen=True):
    """Which model, and where and how it computes.

    `model_id` and `aligner_id` are names on the hub or folders; without the second, words have no times.
    `batch_windows` and `cpu_threads` of 0 mean: as many as memory allows, and one per core.
    """

    model_id: str
    aligner_id: str = ""
    device: str = "auto"
    dtype: str = "auto"
    batch_windows: int = 0
    cpu_threads: int = 0
    language_changes: LanguageChanges = LanguageChanges.PAUSES
    rules: RowRules = RowRules()


class Qwen3Engine:
    """The engine `qwen3`; its methods are described at `worker.engines.protocol.Engine`."""

    needs_speech = True
    _model: "Qwen3Model"  # since `load`
    _report_phase: PhaseReporter  # as well

    def __init__(self, config: Qwen3Config) -> None:
        self._config = config
        self._batch_windows = max(1, config.batch_windows)
        self._timer = WordTimer(self._load_aligner, find_word_languages(config.aligner_id))

    @property
    def batch_windows(self) -> int:
        """How many windows are decoded at once at the most; more than 1 by itself only once loaded."""
        return self._batch_windows

    def load(self, report_phase: PhaseReporter) -> str:
        """Import the package, find or fetch the weights, and bring them onto the device."""
        self._report_phase = report_phase
        report_phase("importing libraries")
        torch = _import_torch()
        device = choose_device(torch, self._config.device)
        if self._config.cpu_threads:
            torch.set_num_threads(self._config.cpu_threads)
        report_phase("finding weights")
        folder = find_qwen3_weights(self._config.model_id)
        report_phase("loading weights")
        with watch_device():
            placement = Placement(device, choose_dtype(torch, self._config.dtype, device))
        self._model = place_weights(torch, folder, placement, Qwen3Model, _refuse)
        if not self._config.batch_windows:
            self._batch_windows = choose_batch_windows(torch, device)
        return device

    def decode_windows(
        self,
        windows: Sequence[Window],
        request: TranscriptionRequest,
        listener: DecodingListener,
        *,
        previous_language: str | None = None,
    ) -> list[WindowTranscript]:
        """Transcribe the windows at once; partials come by the token."""
        changes = LanguageChanges.OFF if request.language_hint else self._config.language_changes
        cut = cut_at_language_changes(self._model, windows, listener, changes)
        decoding = BatchDecoding(self._model, cut.parts, request, listener, self._config.rules)
        parts = decoding.decode(previous_language=previous_language)
        with watch_device():
            transcripts = compose_transcripts(windows, self._timer.time_words(parts, request, listener))
        return cut.warn(windows, transcripts)

    def _load_aligner(self) -> Qwen3Aligner:
        self._report_phase("loading aligner")
        aligner = load_aligner(self._config.aligner_id, self._model.placement)
        self._report_phase(LOADED)
        return aligner


class Qwen3Model:
    """The model on its device, and its processor; see `worker.engines.qwen3.decoding.TokenGenerator`."""

    def __init__(self, folder: Path, placement: Placement) -> None:
        import torch
        from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

        self._model: Any = Qwen3ASRForConditionalGeneration.from_pretrained(
            str(folder),
            dtype=placement.dtype,
            device_map=placement.device,
            attn_implementation=choose_attention(torch, placement),
        ).eval()
        self.placement = placement
        # With the flag, transformers would cut the words of a local model as Mistral's tokenizer does.
        self._processor: Any = Qwen3ASRProcessor.from_pretrained(str(folder), fix_mistral_regex=False)

    def decode_tokens(self, tokens: list[int]) -> str:
        """The text of `tokens`; a character of which bytes are missing is U+FFFD."""
        return self._processor.tokenizer.decode(  # type: ignore[no-any-return]
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def generate(
        self,
        prompts: Sequence[Prompt],
        follow: FollowTokens,
        *,
        max_new_tokens: int,
        avoid_repeats: bool,
        temperature: float = 0.0,
    ) -> Sequence[TokenCounts]:
        """Continue all `prompts` at once; a GPU that is lost to this process ends it."""
        import torch

        steps = _Steps(follow)
        try:
            with watch_device():
                rows = [self._prepare(prompt) for prompt in prompts]
                self._model.generate(
                    **self._move(collate_rows(rows)),
                    streamer=steps,
                    stopping_criteria=[steps.find_ended_rows],
                    max_new_tokens=max_new_tokens,
                    eos_token_id=sorted(END_TOKENS),
                    pad_token_id=PAD_TOKEN,
                    **choose_sampling(temperature),
                    repetition_penalty=_REPETITION_PENALTY if avoid_repeats else 1.0,
                )
        except torch.OutOfMemoryError as error:
            message = (
                f"the device has too little memory for {len(prompts)} windows at once ({error}); "
                "lower BATCH_WINDOWS, WINDOW_S or MAX_CONTEXT_BYTES"
            )
        else:
            return [row.token_counts for row in rows]
        # Only here, outside of the handler, nothing refers to the tensors of the failed call any more.
        torch.cuda.empty_cache()
        raise OutOfDeviceMemory(message)

    def build_prompt(self, context: str, language: str | None) -> str:
        """The prompt up to where the model goes on, with one audio token for all of the audio."""
        return build_prompt(self._processor, context, language)

    def _prepare(self, prompt: Prompt) -> PreparedRow:
        text = self.build_prompt(prompt.context, prompt.language)
        inputs = self._processor(text=[text], audio=[pad_samples(prompt.samples)], return_tensors="np")
        return PreparedRow(
            tokens=[*inputs["input_ids"][0].tolist(), *prompt.said],
            features=inputs["input_features"][0],
            frames=int(inputs["feature_attention_mask"][0].sum()),
        )

    def _move(self, inputs: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Any]:
        """The `inputs` as tensors on the device, features in the numbers of the model."""
        import torch

        device, dtype = self._model.device, self._model.dtype
        tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        return tensors | {"input_features": tensors["input_features"].to(dtype)}


class _Steps:
    """What `generate` takes for a streamer, and its stopping criterion: hands tokens on, ends rows."""

    def __init__(self, follow: FollowTokens) -> None:
        self._follow = follow
        self._ended: Sequence[bool] | None = None  # None before the prompt came by

    def put(self, tokens: Any) -> None:
        self._ended = () if self._ended is None else self._follow(tokens.tolist())

    def end(self) -> None:
        """Nothing is held back here."""

    def find_ended_rows(self, input_ids: Any, *_scores: Any, **_kwargs: Any) -> Any:
        import torch

        return torch.tensor(self._ended, dtype=torch.bool, device=input_ids.device)


def _import_torch() -> Any:
    """Import torch and Qwen's package, but not all that this one drags in."""
    defer_nagisa()
    try:
        with hide_unused_packages():
            import qwen_asr  # noqa: F401 - what takes long is imported here, in the phase of that name
        import torch
    except (ImportError, OSError) as error:  # the latter where a library of the system is missing
        raise ModelUnavailable(
            f"ENGINE=qwen3 needs the package {getattr(error, 'name', None) or 'torch'}, which cannot be "
            f"imported in {sys.prefix} ({error}). `make run ENGINE=qwen3` sets up an environment that has it."
        ) from error
    silence_transformers()
    return torch


def _refuse(folder: Path, reason: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The model in {folder} cannot be loaded ({reason}). Set MODEL_ID to a Qwen3-ASR model: its name on "
        "the hub, or a folder with all its files; if it is one, fetch them anew: one is damaged or missing."
    )
