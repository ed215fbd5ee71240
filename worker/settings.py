"""The settings of the worker and its model process."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import structlog
from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from shared.engine_choice import WHISPER_NEEDS_CPU, WHISPER_READS_NO_MODEL_ID, choose_installed_engine
from shared.model_folder import DEFAULT_MODEL, explain_missing_folder, explain_unusable_model_id
from shared.settings import SharedSettings
from shared.start_settings import BadSetting
from worker.engines.catalog import DEFAULT_ALIGNER_ID, EngineName, LanguageChanges, names_folder

_FORMER_NAMES = {"WINDOW_TIMEOUT": "STALL_TIMEOUT_S", "LOAD_TIMEOUT": "LOAD_TIMEOUT_S"}
"""Settings that this release still reads by their former names."""

_REMOVED_NAMES = ("FIRST_WINDOW_S",)
"""Former settings that have no effect."""

# LANGUAGE_CHANGES was a boolean before; its spellings are read for one release.
_FORMER_LANGUAGE_CHANGES = {
    **dict.fromkeys(("true", "1", "yes", "on", "t", "y"), LanguageChanges.ALWAYS),
    **dict.fromkeys(("false", "0", "no", "f", "n"), LanguageChanges.OFF),
}

_logger = structlog.get_logger(__name__)


def _read_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device.lower()):
        raise ValueError("it should be auto, cpu, mps, cuda or cuda:N, such as cuda:1")
    return device.lower()


class WorkerSettings(SharedSettings):
    """Settings of the worker. The environment variable of each is its name in capitals."""

    engine: EngineName | Literal["auto"] = "auto"
    """The engine: `qwen3`, `qwen3-vllm`, `whisper`, `scripted` (for tests) or `auto`. `auto` is decided
    once at the start: `qwen3` if it can use an NVIDIA device here and its packages are installed, else
    `whisper`."""

    idle_timeout: NonNegativeFloat = 120.0
    """Seconds without a job until the model process ends, which frees all its memory. 0 means never."""

    request_timeout: PositiveFloat = 300.0
    """Seconds of inference allowed for a synchronous or streamed request."""

    job_timeout_factor: PositiveFloat = 4.0
    """Seconds of inference allowed per second of a job's audio. The total is never below REQUEST_TIMEOUT."""

    stall_timeout_s: PositiveFloat = Field(
        default=120.0, validation_alias=AliasChoices("STALL_TIMEOUT_S", "WINDOW_TIMEOUT")
    )
    """Seconds that a decoding engine may be silent. Then its process is ended and the job is queued again.
    The default is four times the longest window, as JOB_TIMEOUT_FACTOR is four times the audio."""

    load_timeout_s: PositiveFloat = Field(
        default=1_800.0, validation_alias=AliasChoices("LOAD_TIMEOUT_S", "LOAD_TIMEOUT")
    )
    """Seconds that one phase of loading a model may take, including a first download. Then its process is
    ended and the job is queued again."""

    batch_turn_s: NonNegativeFloat = 600.0
    """Seconds of audio after which a batch job yields to one of another API key that was served less. 0 means
    never."""

    stop_grace_s: NonNegativeFloat = 10.0
    """Seconds for a stopping worker to finish its window. Then the job goes back to the queue."""

    cancel_grace_ms: NonNegativeFloat = 500.0
    """Milliseconds for an engine to stop on a cancel. Then its process is ended."""

    window_s: float = Field(default=30.0, ge=1.0, le=30.0)
    """Seconds of audio in the longest window, the slice of audio that is decoded at once."""

    model_id: str = DEFAULT_MODEL
    """`qwen3` and `qwen3-vllm`: the model, as a name on the hub or a local folder. Clients see the
    name, and of a folder only its last part."""

    aligner_id: str = DEFAULT_ALIGNER_ID
    """`qwen3`: the model for word timestamps, as a name on the hub or a local folder. It is loaded on the
    first request for them. By default a folder `aligner` in a local MODEL_ID is preferred. `none` means no
    word timestamps."""

    hf_home: Path | None = None
    """The folder of the model hub's client. It keeps downloads in `hub` there."""

    hf_hub_cache: Path | None = None
    """The folder for downloads from the model hub. The default is `hub` in HF_HOME, or else in
    DATA_DIR/models."""

    device: Annotated[str, AfterValidator(_read_device)] = "auto"
    """`qwen3`: the device of the model: `cuda`, `cuda:1`, `mps` or `cpu`. `auto` takes the first that exists.
    `qwen3-vllm` always runs on the first CUDA device."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`qwen3` and `qwen3-vllm`: the number format. `auto` is `bfloat16` on a GPU of compute capability 8.0 or
    more, `float16` on an older one, and `float32` elsewhere. On a CPU without AVX-512, `bfloat16` halves the
    memory and takes many times as long."""

    batch_windows: NonNegativeInt = 0
    """Windows decoded at once: the rows of a batch. With `qwen3`, 0 means as many as free GPU memory allows,
    and one on the CPU. With `qwen3-vllm`, 0 means 64; vLLM itself waits with windows for which it has no
    memory. `scripted` has at least 1. `whisper` ignores it, and has 4, or 1 with one thread."""

    batch_wait_ms: float = Field(default=0.0, ge=0.0, le=10_000.0)
    """Milliseconds that a worker with a loaded model and free rows waits for more jobs before the first batch
    of a group. 0 takes what is queued. The wait does not count as inference."""

    max_batch_s: NonNegativeFloat = 10.0
    """Seconds that a batch may take, by the speed of the batch before it. So an interactive job waits no
    longer for a batch of a long file. Each job has one window in a batch at least. 0 means no limit.
    `qwen3-vllm` ignores it: there, jobs join a running batch."""

    language_changes: LanguageChanges = LanguageChanges.PAUSES
    """`qwen3` and `qwen3-vllm`: where a window is cut when its language changes: `pauses`, `always` or `off`.
    `pauses` detects the language of each speech region in a window with pauses, and cuts between regions that
    differ. A short region between two longer ones of one language stays uncut with a warning, as its detected
    language may be wrong. Speech without a pause is not examined, so a change in it is neither cut nor warned
    of. `always` also searches speech of 5 s or more without a pause, and warns of each change found there.
    Requests that name a language are never cut."""

    max_context_bytes: PositiveInt = 4096
    """`qwen3` and `qwen3-vllm`: bytes of UTF-8 allowed for a request's context (`prompt` and `keywords`). A
    longer one is refused with 400. Each byte may become a token, and the model reads all tokens at once."""

    vllm_gpu_memory: float = Field(default=0.7, gt=0.0, le=1.0)
    """`qwen3-vllm`: the share of the GPU's memory that vLLM reserves at its start, for weights and cache.
    That much must be free. The default is that of Qwen's own examples."""

    whisper_model: str = ""
    """`whisper`: the model, as a local folder or a faster-whisper name on the hub. Empty means `base`."""

    whisper_beam_size: int = Field(default=5, ge=1)
    """`whisper`: the number of hypotheses that the beam search keeps. 1 is fastest."""

    cpu_threads: NonNegativeInt = 0
    """Threads for inference on the CPU; with `whisper`, for each of two windows. 0 means one per core."""

    scripted_speed: NonNegativeFloat = 0.0
    """`scripted`: seconds of audio transcribed per second. 0 means at once."""

    scripted_joins_rows: bool = False
    """`scripted`: whether rows join a running batch, as on `qwen3-vllm`."""

    scripted_load_s: NonNegativeFloat = 0.0
    """`scripted`: seconds that loading takes."""

    scripted_misbehaviour: str = "none"
    """`scripted`: a fault to show, such as `die_in_load`. Its module lists them."""

    @field_validator("language_changes", mode="before")
    @classmethod
    def _read_former_boolean(cls, value: object) -> object:
        """Return the mode that a former boolean stands for, and other values as they are."""
        return _FORMER_LANGUAGE_CHANGES.get(str(value).lower(), value)

    @property
    def chosen_engine(self) -> EngineName:
        """Return the engine, with `auto` replaced by the engine that it means here."""
        return EngineName(choose_installed_engine().engine if self.engine == "auto" else self.engine)

    @property
    def hub_model(self) -> str | None:
        """Return the model of the engine if it is named by a name on the hub, else None."""
        model = self.whisper_model if self.chosen_engine is EngineName.WHISPER else self.model_id
        is_named = self.chosen_engine is not EngineName.SCRIPTED and model and not names_folder(model)
        return model if is_named else None

    @property
    def hub_cache_dir(self) -> Path:
        """Return the folder for downloads from the model hub."""
        return self.hf_hub_cache or (self.hf_home or self.models_dir) / "hub"


class WorkerStartSettings(WorkerSettings):
    """The settings as a start reads them, with checks of the model that need not hold any more later."""

    @field_validator("engine", mode="before")
    @classmethod
    def _check_engine(cls, wanted: str) -> str:
        names = ("auto", *EngineName)
        if wanted.lower() not in names:
            raise BadSetting(
                f"ENGINE={wanted} does not exist in this version. Choose one of {', '.join(names)}."
            )
        return wanted

    @field_validator("whisper_model")
    @classmethod
    def _check_whisper_model(cls, model: str) -> str:
        """Refuse what is clearly a path and leads to no folder; only the hub knows which names exist."""
        _refuse(explain_missing_folder(model, "Systran/faster-whisper-base"))
        return model

    @field_validator("model_id")
    @classmethod
    def _check_model_id(cls, model: str, info: ValidationInfo) -> str:
        """Refuse a model that the engine would not run."""
        _refuse(WHISPER_READS_NO_MODEL_ID if _runs_whisper(info) else explain_unusable_model_id(model))
        return model

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str, info: ValidationInfo) -> str:
        """Refuse a device that the engine would ignore."""
        _refuse(WHISPER_NEEDS_CPU if device.startswith("cuda") and _runs_whisper(info) else None)
        return device


def _refuse(fault: str | None) -> None:
    if fault:
        raise ValueError(fault)


def _runs_whisper(info: ValidationInfo) -> bool:
    engine = info.data.get("engine", "auto")
    return (choose_installed_engine().engine if engine == "auto" else engine) == EngineName.WHISPER


def warn_of_outdated_settings() -> None:
    """Log a warning for each setting in the environment that was removed, or has a former name or value."""
    for name, value in os.environ.items():
        if name.upper() in _REMOVED_NAMES:
            _logger.warning("setting_removed", setting=name)
        if new_name := _FORMER_NAMES.get(name.upper()):
            _logger.warning("setting_outdated", setting=name, use=new_name)
        mode = _FORMER_LANGUAGE_CHANGES.get(value.lower())
        if name.upper() == "LANGUAGE_CHANGES" and mode:
            _logger.warning("setting_outdated", setting=f"{name}={value}", use=f"{name}={mode}")
