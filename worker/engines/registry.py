"""The engines themselves: creates the one that the settings name. No other module imports an engine.

It cannot be part of `catalog`, which the settings import: a server must know the engines before it imports
one.
"""

from worker.engines.catalog import EngineName
from worker.engines.protocol import Engine
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.vllm_engine import Qwen3VllmEngine
from worker.engines.scripted.engine import ScriptedEngine
from worker.engines.whisper.engine import WhisperEngine
from worker.settings import WorkerSettings


def create_engine(settings: WorkerSettings) -> Engine:
    """Return the engine that `settings` name, with nothing loaded yet.

    Raises:
        ValueError: SCRIPTED_MISBEHAVIOUR names an unknown misbehaviour.
    """
    match settings.chosen_engine:
        case EngineName.QWEN3:
            return Qwen3Engine(settings)
        case EngineName.QWEN3_VLLM:
            return Qwen3VllmEngine(settings)
        case EngineName.WHISPER:
            return WhisperEngine(settings)
        case EngineName.SCRIPTED:
            return ScriptedEngine(settings)
