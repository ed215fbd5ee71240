"""The values of MODEL_ID that no engine can load, found without a request to the hub.

`make run` checks them before anything is installed, so this module imports only the standard library.
"""

from pathlib import Path

CONFIG_NAME = "config.json"
DEFAULT_MODEL = "Qwen/Qwen3-ASR-0.6B"
_CHECKPOINT_FOLDER = "checkpoint"  # in a folder that holds more than the model
_PATH_BEGINNINGS = ("/", ".", "~")


def find_checkpoint(folder: Path) -> Path | None:
    """Return the folder of the model in `folder`: itself or its folder `checkpoint`, or None without one."""
    candidates = (folder, folder / _CHECKPOINT_FOLDER)
    return next((candidate for candidate in candidates if (candidate / CONFIG_NAME).is_file()), None)


def explain_missing_folder(model: str, example: str) -> str | None:
    """Return why `model` is neither a folder nor a name that the hub could have, with `example` as such."""
    if Path(model).is_dir():
        return None
    if model.startswith(_PATH_BEGINNINGS):
        return "there is no such folder"
    if model.count("/") > 1:
        return f"there is no such folder, and a name on the hub has one slash, such as {example}"
    return None


def explain_unusable_model_id(model_id: str) -> str | None:
    """Return why no Qwen engine can load MODEL_ID=`model_id`; None if only the hub can tell."""
    if Path(model_id).is_dir() and not find_checkpoint(Path(model_id)):
        return (
            f"there is no {CONFIG_NAME} in this folder. Set MODEL_ID to the folder of a model, or to a name "
            f"on the hub such as {DEFAULT_MODEL}"
        )
    return explain_missing_folder(model_id, DEFAULT_MODEL)
