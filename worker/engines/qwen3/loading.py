"""The loading of Qwen's models: lean imports, the search for weights, and their way to a device."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from shared.model_folder import CONFIG_NAME, DEFAULT_MODEL, find_checkpoint
from worker.engines.catalog import names_folder
from worker.engines.model_hub import HubSearch, HubSilent, check_model, fetch_model, has_safetensors_model
from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3.device import (
    SDPA,
    DeviceTooSmall,
    Placement,
    check_free_memory,
    choose_attention,
    describe_shortage,
    end_if_lost,
    is_out_of_memory,
)
from worker.engines.qwen3.encoder import keep_blocks_apart

_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.jinja"]

# The chunks of a second that the encoder convolves at once. 30 at once are no faster on a CPU, and would keep
# a stop waiting for seconds.
_CONVOLVED_CHUNKS = 6

_NAGISA = "nagisa"
# Packages that transformers imports if they are installed, for other ways to generate and for training.
_UNUSED = ("pandas", "scipy", "sklearn")

Model = TypeVar("Model")
Found = TypeVar("Found")


class _DeferredNagisa(ModuleType):
    """A placeholder for `nagisa` that is replaced by the real module at its first use."""

    def __getattr__(self, name: str) -> Any:
        # The import system and inspection read names like `__path__` of every module.
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_NAGISA) is self:
            del sys.modules[_NAGISA]
        return getattr(importlib.import_module(_NAGISA), name)


def defer_nagisa() -> None:
    """Make the next `import nagisa` load nothing: only Japanese word timestamps need its 200 MB.

    This also saves a third of the time of loading. `importlib.util.LazyLoader` saved nothing.
    """
    if _NAGISA not in sys.modules:
        deferred = _DeferredNagisa(_NAGISA)
        deferred.__spec__ = ModuleSpec(_NAGISA, None)
        sys.modules[_NAGISA] = deferred


@contextmanager
def hide_unused_packages() -> Iterator[None]:
    """Hide from transformers, imported within, the packages that recognition never uses.

    This takes a fifth off the time and a seventh off the memory of loading. transformers looks for them only
    while it is imported; afterwards they can be imported as usual.
    """
    hidden = [name for name in _UNUSED if name not in sys.modules]
    # None is the import system's own mark for a module that cannot be found.
    cast("dict[str, ModuleType | None]", sys.modules).update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def silence_transformers() -> None:
    """Keep the advice to developers that transformers logs at each call out of the log."""
    logging.getLogger("transformers").setLevel(logging.ERROR)


def hide_progress_bars() -> None:
    """Keep the bar that transformers draws while it loads several files of weights out of the log."""
    importlib.import_module("transformers.utils.logging").disable_progress_bar()


def find_qwen3_weights(model_id: str, *, setting: str = "MODEL_ID", example: str = DEFAULT_MODEL) -> Path:
    """Return the folder of a model: `model_id`, the value of `setting`, is a folder or a name on the hub.

    Downloads are kept in the hub's cache (HF_HUB_CACHE). A complete model there needs no request to the hub.
    With HF_HUB_OFFLINE=1 only the cache is searched.

    Raises:
        ModelUnavailable: no model is in the folder, or the hub cannot provide the name.
    """
    if folder := find_checkpoint(Path(model_id)):
        return folder
    if names_folder(model_id):
        raise ModelUnavailable(
            f"{setting}={model_id}: there is no {CONFIG_NAME} in this folder. "
            f"Set {setting} to the folder of a model, or to a name on the hub such as {example}."
        )
    return _search_hub(fetch_model, model_id, setting)


def check_hub_model(model_id: str) -> None:
    """Check that `find_qwen3_weights` can find a model with this name on the hub. Download nothing.

    Raises:
        ModelUnavailable: it is not cached, and the hub does not have it or must not be asked.
        HubSilent: it is not cached, and the hub does not answer.
    """
    _search_hub(check_model, model_id, "MODEL_ID")


def _search_hub(search: HubSearch[Found], model_id: str, setting: str) -> Found:
    from huggingface_hub import constants, snapshot_download

    download = partial(snapshot_download, model_id, allow_patterns=_PATTERNS)
    try:
        return search(model_id, download, has_safetensors_model)
    except HubSilent:
        raise
    except Exception as error:  # the border to the hub's client, which raises errors of many libraries
        is_offline = constants.HF_HUB_OFFLINE
        source = "the hub's cache, as HF_HUB_OFFLINE is set," if is_offline else "the model hub"
        raise ModelUnavailable(
            f"{setting}={model_id} is neither a folder here nor available from {source} ({error}). "
            f"Fetch it where the hub can be reached (`hf download {model_id} --local-dir FOLDER`) and set "
            f"{setting} to that folder. The cache of the hub is {constants.HF_HUB_CACHE}."
        ) from error


def measure_weights(folder: Path) -> int:
    """Return the size of the weights in `folder`, in bytes as they are stored."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def load_model(folder: Path, placement: Placement) -> Any:
    """Return Qwen's model in `folder`, an aligner as well, on its device."""
    import torch
    from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration

    # torch prefers it on H100 and B200. It makes NaN of padding, and plans anew for each length of a text.
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    attention = choose_attention(torch, placement)
    model: Any = Qwen3ASRForConditionalGeneration.from_pretrained(
        str(folder), dtype=placement.dtype, device_map=placement.device, attn_implementation=attention
    )
    tower = model.thinker.audio_tower
    tower.conv_chunksize = _CONVOLVED_CHUNKS
    if attention == SDPA:
        keep_blocks_apart(tower)
    return model.eval()


def place_weights(
    torch: Any,
    folder: Path,
    placement: Placement,
    load: Callable[[Path, Placement], Model],
    refuse: Callable[[Path, str], ModelUnavailable],
) -> Model:
    """Return what `load` makes of the weights in `folder`.

    Damaged files raise errors of many libraries, some of plain `Exception`. All of them become the error
    that `refuse` makes of the reason. An error that leaves the GPU unusable ends this process instead: a new
    process tries the job again.

    Raises:
        DeviceTooSmall: the device has too little memory.
        ModelUnavailable: the files are damaged, or they are not a model of this kind.
    """
    # Weights are stored with two bytes each.
    needed_bytes = measure_weights(folder) * placement.dtype.itemsize // 2
    try:
        check_free_memory(torch, placement.device, needed_bytes)
        return load(folder, placement)
    except DeviceTooSmall:
        raise
    except Exception as error:  # border: see above
        reason = f"{type(error).__name__}: {error}"
        if not is_out_of_memory(error):
            end_if_lost(error)
            raise refuse(folder, reason) from error
    # Only here, outside of the handler, nothing refers to the tensors of the failed call any more.
    torch.cuda.empty_cache()
    raise describe_shortage(torch, placement.device, needed_bytes, reason)
