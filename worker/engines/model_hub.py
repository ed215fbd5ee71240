"""Downloads from the model hub: only what its cache lacks, and with a limit on the wait.

A model whose files are all cached is loaded without a request. So a slow or silent hub delays no start, and
a worker does not return from an idle unload with other weights.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

_CONFIG_NAME = "config.json"
_INDEX_NAME = "model.safetensors.index.json"  # of weights in several files
_WEIGHTS_NAME = "model.safetensors"


class _WeightsIndex(msgspec.Struct, frozen=True):
    """The index of a model in several files: the file of each tensor."""

    weight_map: dict[str, str]


Found_co = TypeVar("Found_co", covariant=True)


class HubSilent(Exception):
    """Raised by a check if the hub does not answer, so that nothing is known about a model."""


class HubDownload(Protocol):
    """A call of the hub's client that finds a model, in its cache alone or also on the hub."""

    def __call__(self, *, local_files_only: bool) -> str:
        """Return the folder in the cache; raise errors of many libraries if the model cannot be found."""


class HubSearch(Protocol[Found_co]):
    """`fetch_model` or `check_model`."""

    def __call__(self, name: str, download: HubDownload, is_whole: Callable[[Path], bool]) -> Found_co:
        """Search for the model `name`."""


def fetch_model(name: str, download: HubDownload, is_whole: Callable[[Path], bool]) -> Path:
    """Return the folder of the model `name`: the cached one if it `is_whole`, else a download.

    Raises:
        Exception: the model cannot be found or downloaded; the client lets errors of many libraries pass.
    """
    from huggingface_hub import HfApi, constants

    if folder := _find_cached(download, is_whole):
        return folder
    # The client has no limit on its request for the list of files. This request has one, so a silent hub
    # fails here after HF_HUB_ETAG_TIMEOUT seconds.
    if not constants.HF_HUB_OFFLINE and "/" in name:
        HfApi().model_info(name, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    return Path(download(local_files_only=False))


def check_model(name: str, download: HubDownload, is_whole: Callable[[Path], bool]) -> None:
    """Check that `fetch_model` can find the model `name`. Download nothing.

    Raises:
        HubSilent: the model is not in the cache, and the hub does not answer.
        Exception: the model is neither in the cache nor on the hub, or the hub must not be asked.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    if _find_cached(download, is_whole):
        return
    if "/" not in name:
        with suppress(OSError):  # a short name that the client knows is only not cached
            download(local_files_only=True)
        return
    try:
        HfApi().model_info(name, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (OfflineModeIsEnabled, RepositoryNotFoundError):
        raise
    except Exception as error:  # the client lets errors of many libraries pass
        raise HubSilent(str(error)) from error


def has_safetensors_model(folder: Path) -> bool:
    """Return whether `folder` has all files of a model; an interrupted download leaves only some."""
    has_tokenizer = _has_files(folder, ["tokenizer.json"]) or _has_files(folder, ["vocab.json", "merges.txt"])
    others = [_CONFIG_NAME, "preprocessor_config.json", "tokenizer_config.json"]
    return has_tokenizer and _has_files(folder, [*others, *_name_weights(folder)])


def has_ctranslate2_model(folder: Path) -> bool:
    """Return whether `folder` has all files of a CTranslate2 model."""
    return _has_files(folder, [_CONFIG_NAME, "model.bin", "tokenizer.json"])


def _find_cached(download: HubDownload, is_whole: Callable[[Path], bool]) -> Path | None:
    try:
        folder = Path(download(local_files_only=True))
    except (OSError, ValueError):  # it is not cached, or the hub could have no such name
        return None
    return folder if is_whole(folder) else None


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
