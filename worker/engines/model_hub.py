"""Asks the model hub only for what its cache lacks, and does not wait long for it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

_CONFIG_NAME = "config.json"
_INDEX_NAME = "model.safetensors.index.json"  # of weights in several files
_WEIGHTS_NAME = "model.safetensors"


class _WeightsIndex(msgspec.Struct, frozen=True):
    """In which file each tensor is."""

    weight_map: dict[str, str]


class HubDownload(Protocol):
    """Has the hub's client find a model, in its cache alone or wherever it is."""

    def __call__(self, *, local_files_only: bool) -> str:
        """The folder in the cache; raises errors of many libraries where it cannot be had."""


def fetch_model(name: str, download: HubDownload, is_whole: Callable[[Path], bool]) -> Path:
    """The folder of the model `name`: what is in the hub's cache, if it `is_whole`, or what the hub gives.

    The client waits without limit for the list of a model's files. So the hub is asked first whether it knows
    the model, and may be silent for HF_HUB_ETAG_TIMEOUT.

    Raises:
        Exception: it cannot be had; of many libraries, as the client lets them pass.
    """
    from huggingface_hub import HfApi, constants

    folder = _look_into_cache(download)
    if folder is not None and is_whole(folder):
        return folder
    if not constants.HF_HUB_OFFLINE and "/" in name:
        HfApi().model_info(name, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    return Path(download(local_files_only=False))


def has_safetensors_model(folder: Path) -> bool:
    """Whether all is in `folder` that a model needs, as an interrupted download leaves only some of it."""
    has_tokenizer = _has_files(folder, ["tokenizer.json"]) or _has_files(folder, ["vocab.json", "merges.txt"])
    others = [_CONFIG_NAME, "preprocessor_config.json", "tokenizer_config.json"]
    return has_tokenizer and _has_files(folder, [*others, *_name_weights(folder)])


def has_ctranslate2_model(folder: Path) -> bool:
    """Whether all is in `folder` that a model of CTranslate2 needs."""
    return _has_files(folder, [_CONFIG_NAME, "model.bin", "tokenizer.json"])


def _look_into_cache(download: HubDownload) -> Path | None:
    try:
        return Path(download(local_files_only=True))
    except (OSError, ValueError):  # it is not there, or the name is none that the hub could have
        return None


def _name_weights(folder: Path) -> Iterable[str]:
    try:
        index = msgspec.json.decode((folder / _INDEX_NAME).read_bytes(), type=_WeightsIndex)
    except FileNotFoundError:
        return [_WEIGHTS_NAME]
    except msgspec.DecodeError:
        return ["weights of an index that can be read"]
    return index.weight_map.values()


def _has_files(folder: Path, names: Iterable[str]) -> bool:
    return all((folder / name).is_file() for name in names)
