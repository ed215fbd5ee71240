"""Where the weights of Qwen3-ASR come from: a local folder or the model hub."""

from functools import partial
from pathlib import Path

from worker.engines.model_hub import fetch_model, has_safetensors_model
from worker.engines.protocol import ModelUnavailable

_CONFIG_NAME = "config.json"
_CHECKPOINT_FOLDER = "checkpoint"  # where a folder that holds more than the model keeps it
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.jinja"]


def find_qwen3_weights(model_id: str) -> Path:
    """The folder of the model that `model_id` names: a folder, or a name on the hub.

    What the hub gives is kept in its cache (HF_HUB_CACHE); once all is there, the hub is asked no more. With
    HF_HUB_OFFLINE=1 only the cache is asked.

    Raises:
        ModelUnavailable: neither has it.
    """
    folder = Path(model_id)
    for candidate in (folder, folder / _CHECKPOINT_FOLDER):
        if (candidate / _CONFIG_NAME).is_file():
            return candidate
    if folder.is_dir() or folder.is_absolute() or model_id.startswith("."):
        raise ModelUnavailable(
            f"MODEL_ID={model_id}: there is no {_CONFIG_NAME} in this folder. "
            "Name the folder of a Qwen3-ASR model, or a model on the hub such as Qwen/Qwen3-ASR-0.6B."
        )
    return _fetch_from_hub(model_id)


def measure_weights(folder: Path) -> int:
    """The bytes of the weights in `folder`, as they are stored."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _fetch_from_hub(model_id: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    download = partial(snapshot_download, model_id, allow_patterns=_PATTERNS)
    try:
        return fetch_model(model_id, download, has_safetensors_model)
    except Exception as error:  # the border to the hub's client, which raises errors of many libraries
        is_offline = constants.HF_HUB_OFFLINE
        asked = "the hub's cache, as HF_HUB_OFFLINE is set," if is_offline else "the model hub"
        raise ModelUnavailable(
            f"MODEL_ID={model_id} is neither a folder here nor to be had from {asked} ({error}). "
            f"Fetch it where the hub can be reached (`hf download {model_id} --local-dir FOLDER`) and set "
            f"MODEL_ID to that folder. The cache of the hub is {constants.HF_HUB_CACHE}."
        ) from error
