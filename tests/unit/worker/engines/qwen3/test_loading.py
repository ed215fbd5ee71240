"""Failures to load weights onto a device are distinguished, whatever a library raises."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3.device import DeviceTooSmall, Placement
from worker.engines.qwen3.loading import place_weights

GIB = 1 << 30


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class SafetensorError(Exception):
    """Named, and as plain, as that of safetensors."""


class Gpu:
    """A stand-in for torch with a GPU that reports these amounts of free memory in turn, and then fails."""

    def __init__(self, *free_gib: float) -> None:
        self._free_gib = list(free_gib)
        self.cuda = self

    def mem_get_info(self, _device: str) -> tuple[int, int]:
        if not self._free_gib:
            raise RuntimeError("CUDA error: out of memory")
        return int(self._free_gib.pop(0) * GIB), 8 * GIB

    def empty_cache(self) -> None:
        """Nothing is kept here."""


@pytest.fixture
def exit_codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    return codes


def load(torch: Any, folder: Path, error: Exception | None, device: str = "cuda:1") -> str:
    """Call `place_weights` with a loader that returns a text or raises the error."""

    def load_model(folder: Path, placement: Placement) -> str:
        if error:
            raise error
        return f"{folder.name} on {placement.device}"

    def refuse(folder: Path, reason: str) -> ModelUnavailable:
        return ModelUnavailable(f"{folder.name} is refused: {reason}")

    placement = Placement(device, SimpleNamespace(itemsize=4))
    return place_weights(torch, folder, placement, load_model, refuse)


def test_a_model_that_fits_is_loaded(tmp_path: Path) -> None:
    assert load(Gpu(8), tmp_path, None) == f"{tmp_path.name} on cuda:1"


@pytest.mark.parametrize(
    "error", [SafetensorError("header too large"), TypeError("not NoneType"), KeyError("x")]
)
def test_damaged_files_are_refused_with_the_reason_and_its_kind(
    tmp_path: Path, exit_codes: list[int], error: Exception
) -> None:
    with pytest.raises(ModelUnavailable, match=f"is refused: {type(error).__name__}: .*{error.args[0]}"):
        load(Gpu(8), tmp_path, error)
    assert exit_codes == []


def test_a_gpu_that_is_busy_ends_the_process_and_blames_no_files(
    tmp_path: Path, exit_codes: list[int]
) -> None:
    error = RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")
    with pytest.raises(ModelUnavailable):  # as the process only notes here that it was to end
        load(Gpu(8), tmp_path, error)
    assert exit_codes == [70]


def test_memory_that_runs_out_while_loading_is_reported_with_figures(
    tmp_path: Path, exit_codes: list[int]
) -> None:
    error = OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    with pytest.raises(
        DeviceTooSmall, match=r"Tried to allocate 2\.00 GiB.*cuda:1 has 1\.5 GiB of 8\.0 GiB free.*DEVICE=cpu"
    ):
        load(Gpu(8, 1.5), tmp_path, error)
    assert exit_codes == []


@pytest.mark.parametrize(("torch", "device"), [(Gpu(), "cuda:1"), (Gpu(), "mps")])
def test_a_device_that_cannot_report_its_memory_is_too_small(
    tmp_path: Path, exit_codes: list[int], torch: Gpu, device: str
) -> None:
    with pytest.raises(DeviceTooSmall, match=f"{device} ran out of memory .*DEVICE=cpu"):
        load(torch, tmp_path, RuntimeError("MPS backend out of memory"), device)
    assert exit_codes == []


def test_too_little_free_memory_is_reported_before_loading(tmp_path: Path) -> None:
    with pytest.raises(DeviceTooSmall, match=r"cuda:1 has 0\.5 GiB of 8\.0 GiB free"):
        load(Gpu(0.5), tmp_path, AssertionError("it was loaded"))
