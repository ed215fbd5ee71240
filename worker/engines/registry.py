"""The engines themselves: creates the one that the settings name, and checks the name of its model.

No other module imports an engine. It cannot be part of `catalog`, which the settings import: a server must
know the engines before it imports one.
"""

from worker.engines.catalog import EngineName
from worker.engines.protocol import Engine
from worker.engines.qwen3 import loading
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.vllm_engine import Qwen3VllmEngine
from worker.engines.scripted.engine import ScriptedEngine
from worker.engines.whisper import weights as whisper_weights
from worker.engines.whisper.engine import WhisperEngine
from worker.settings import WorkerSettings


def check_hub_model(settings: WorkerSettings, name: str) -> None:
    """Check that the model `name` of the engine is cached or on the hub. Download nothing.

    Raises:
        ModelUnavailable: it is neither.
        HubSilent: it is not cached, and the hub does not answer.
    """
    if settings.chosen_engine is EngineName.WHISPER:
        whisper_weights.check_hub_model(name, settings.models_dir)
    else:
        loading.check_hub_model(name)


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
