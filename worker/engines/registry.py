"""The engines themselves: creates the one that the settings name. No other module imports an engine.

It cannot be part of `catalog`, which the settings import: a server must know the engines before it imports
one.
"""

from worker.engines.catalog import EngineName
from worker.engines.protocol import Engine
from worker.engines.qwen3.aligner import choose_aligner
from worker.engines.qwen3.engine import Qwen3Config, Qwen3Engine
from worker.engines.qwen3.vllm_engine import Qwen3VllmConfig, Qwen3VllmEngine
from worker.engines.scripted.engine import Misbehaviour, ScriptedConfig, ScriptedEngine
from worker.engines.whisper.engine import WhisperConfig, WhisperEngine
from worker.settings import WorkerSettings


def create_engine(settings: WorkerSettings) -> Engine:
    """Return the engine that `settings` name, with nothing loaded yet.

    Raises:
        ValueError: SCRIPTED_MISBEHAVIOUR names an unknown misbehaviour.
    """
    match settings.chosen_engine:
        case EngineName.QWEN3:
            return Qwen3Engine(
                Qwen3Config(
                    model_id=settings.model_id,
                    aligner_id=choose_aligner(settings.aligner_id, settings.model_id),
                    device=settings.device,
                    dtype=settings.dtype,
                    batch_windows=settings.batch_windows,
                    cpu_threads=settings.cpu_threads,
                    language_changes=settings.language_changes,
                )
            )
        case EngineName.QWEN3_VLLM:
            return Qwen3VllmEngine(
                Qwen3VllmConfig(
                    model_id=settings.model_id,
                    device=settings.device,
                    dtype=settings.dtype,
                    gpu_memory=settings.vllm_gpu_memory,
                    max_context_bytes=settings.max_context_bytes,
                    window_s=settings.window_s,
                    batch_windows=settings.batch_windows,
                    language_changes=settings.language_changes,
                )
            )
        case EngineName.WHISPER:
            return WhisperEngine(
                WhisperConfig(
                    weights_dir=settings.models_dir,
                    model=settings.whisper_model,
                    beam_size=settings.whisper_beam_size,
                    cpu_threads=settings.cpu_threads,
                )
            )
        case EngineName.SCRIPTED:
            return ScriptedEngine(
                ScriptedConfig(
                    speed=settings.scripted_speed,
                    load_s=settings.scripted_load_s,
                    misbehaviour=Misbehaviour(settings.scripted_misbehaviour),
                )
            )
