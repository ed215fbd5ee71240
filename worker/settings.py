"""The worker's settings, which its model process reads as well."""

import warnings
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from shared.settings import SharedSettings
from worker.engines.catalog import DEFAULT_ALIGNER_ID, EngineName, LanguageChanges

# LANGUAGE_CHANGES was a boolean before; its spellings are read for one release.
_FORMER_LANGUAGE_CHANGES = {
    **dict.fromkeys(("true", "1", "yes", "on", "t", "y"), LanguageChanges.ALWAYS),
    **dict.fromkeys(("false", "0", "no", "f", "n"), LanguageChanges.OFF),
}


class WorkerSettings(SharedSettings):
    """Settings of the worker, each from the environment variable of its name in capitals."""

    engine: EngineName = EngineName.WHISPER
    """The engine that transcribes: `qwen3`, `qwen3-vllm`, `whisper`, or `scripted` for tests. It never
    becomes another."""

    idle_timeout: NonNegativeFloat = 120.0
    """Seconds without a job after which the model process ends and all its memory is free; 0 means never."""

    request_timeout: PositiveFloat = 300.0
    """Seconds that inference for a synchronous or streamed request may take."""

    job_timeout_factor: PositiveFloat = 4.0
    """Seconds of inference allowed per second of audio of a job; never less than REQUEST_TIMEOUT in all."""

    window_timeout: PositiveFloat = 120.0
    """Seconds without a sign of life from an engine that decodes, after which its process is ended and the
    job queued again. By default four times the longest window, as JOB_TIMEOUT_FACTOR is of all the audio."""

    load_timeout: PositiveFloat = 1_800.0
    """Seconds that a phase of loading a model may take, a first download included; then the same is done."""

    batch_turn_s: NonNegativeFloat = 600.0
    """Seconds of audio after which a batch job makes room for that of another API key, which has had less;
    0 means never."""

    stop_grace_s: NonNegativeFloat = 10.0
    """Seconds in which a stopping worker may finish its window before the job is given back."""

    cancel_grace_ms: NonNegativeFloat = 500.0
    """Milliseconds an engine gets to stop by itself before its process is ended."""

    window_s: float = Field(default=30.0, ge=1.0, le=30.0)
    """The longest window, in seconds of audio, that is decoded at once."""

    first_window_s: float = Field(default=8.0, ge=1.0, le=30.0)
    """The longest first window of a synchronous or streamed request, so that its first words come early."""

    model_id: str = "Qwen/Qwen3-ASR-0.6B"
    """`qwen3` and `qwen3-vllm`: the model, by its name on the hub or as a local folder."""

    aligner_id: str = DEFAULT_ALIGNER_ID
    """`qwen3`: the model that finds word timestamps, a name or a folder, loaded when they are first asked
    for. By default a folder `aligner` in the folder MODEL_ID is preferred; empty means no word timestamps."""

    hf_home: Path | None = None
    """The folder of the model hub's client; what it downloads is kept in `hub` there."""

    hf_hub_cache: Path | None = None
    """Where downloads from the model hub are kept. By default `hub` in HF_HOME or else DATA_DIR/models."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """`qwen3`: where the model runs: `cuda`, `cuda:1`, `mps` or `cpu`; `auto` takes the first there is.
    `qwen3-vllm` runs on the first CUDA device alone."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`qwen3`: the numbers it computes with; `auto` is `bfloat16` on a GPU of compute capability
    8.0 or more, `float16` on an older one, `float32` elsewhere. `qwen3-vllm`: the same, but for `auto`, which
    vLLM decides."""

    batch_windows: NonNegativeInt = 0
    """`qwen3`: windows decoded at once; 0 means as many as free GPU memory allows, and one on the CPU.
    `qwen3-vllm`: 0 means 16."""

    language_changes: LanguageChanges = LanguageChanges.PAUSES
    """`qwen3` and `qwen3-vllm`: where a window is cut when its language changes: `pauses`, `always` or `off`.
    `pauses` detects the language of each speech region in a window with pauses, and cuts between regions that
    differ. A short region between two longer ones of one language stays uncut with a warning, as its detected
    language may be wrong. Speech without a pause is not examined, so a change in it is neither cut nor warned
    of. `always` also searches speech of 5 s or more without a pause, and warns of each change found there.
    Requests that name a language are never cut."""

    max_context_bytes: PositiveInt = 4096
    """`qwen3` and `qwen3-vllm`: how long the context of a request (`prompt` and `keywords`) may be, in bytes
    of UTF-8; more is a 400. Each byte may become a token, and the model computes with all of them at once."""

    vllm_gpu_memory: float = Field(default=0.7, gt=0.0, le=1.0)
    """`qwen3-vllm`: the share of the GPU's memory that vLLM takes when it starts, for weights and cache. So
    much must be free then; the rest is for others. Qwen's own examples take as much as the default."""

    whisper_model: str = ""
    """A faster-whisper model: a local folder or the name of one on the hub. Empty: the `base` model."""

    whisper_beam_size: int = Field(default=5, ge=1)
    """How many hypotheses Whisper follows; 1 is fastest."""

    cpu_threads: NonNegativeInt = 0
    """Threads for inference on the CPU; 0 means one for each core."""

    scripted_speed: NonNegativeFloat = 0.0
    """`scripted` engine: seconds of audio transcribed per second; 0 means at once."""

    scripted_load_s: NonNegativeFloat = 0.0
    """`scripted` engine: seconds that loading takes."""

    scripted_misbehaviour: str = "none"
    """`scripted` engine: what it does wrong, such as `die_in_load`; see its module."""

    @field_validator("language_changes", mode="before")
    @classmethod
    def _read_former_boolean(cls, value: object) -> object:
        """Return the mode that a former boolean stands for, with a warning, and other values as they are."""
        mode = _FORMER_LANGUAGE_CHANGES.get(str(value).lower())
        if mode is None:
            return value
        message = f"LANGUAGE_CHANGES={value} is deprecated. Set LANGUAGE_CHANGES={mode} instead."
        warnings.warn(message, FutureWarning, stacklevel=2)
        return mode

    @property
    def hub_cache_dir(self) -> Path:
        """Where downloads from the model hub are kept."""
        return self.hf_hub_cache or (self.hf_home or self.models_dir) / "hub"
