"""Brings the weights of Qwen's models to a device, and tells apart why that may fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3.device import (
    DeviceTooSmall,
    Placement,
    check_free_memory,
    describe_shortage,
    is_out_of_memory,
)
from worker.engines.qwen3.device_loss import end_if_lost
from worker.engines.qwen3.weights import measure_weights

Model = TypeVar("Model")


def place_weights(
    torch: Any,
    folder: Path,
    placement: Placement,
    load: Callable[[Path, Placement], Model],
    refuse: Callable[[Path, str], ModelUnavailable],
) -> Model:
    """What `load` makes of the weights in `folder`; an error that leaves the GPU unusable ends this process.

    Raises:
        DeviceTooSmall: the memory of the device is too little.
        ModelUnavailable: the files are damaged or those of something else; made by `refuse` of the reason.
    """
    # They are stored in two bytes each.
    needed_bytes = measure_weights(folder) * placement.dtype.itemsize // 2
    try:
        check_free_memory(torch, placement.device, needed_bytes)
        return load(folder, placement)
    except DeviceTooSmall:
        raise
    except Exception as error:  # border: damaged files raise errors of many libraries
        reason = f"{type(error).__name__}: {error}"
        if not is_out_of_memory(error):
            end_if_lost(error)
            raise refuse(folder, reason) from error
    # Only here, outside of the handler, nothing refers to the tensors of the failed call any more.
    torch.cuda.empty_cache()
    raise describe_shortage(torch, placement.device, needed_bytes, reason)
