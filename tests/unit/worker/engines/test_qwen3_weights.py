"""The weights of Qwen3-ASR come from a folder or the hub; where neither has them, the remedy is named."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3 import Qwen3Config, Qwen3Engine
from worker.engines.qwen3_weights import find_qwen3_weights, measure_weights


class Hub(ModuleType):
    """Stands for `huggingface_hub`: has one model, and notes what is asked for."""

    def __init__(self, folder: Path, *, is_offline: bool = False) -> None:
        super().__init__("huggingface_hub")
        self.constants = SimpleNamespace(HF_HUB_OFFLINE=is_offline, HF_HUB_CACHE="/cache")
        self._folder = folder

    def snapshot_download(self, model_id: str, *, allow_patterns: list[str]) -> str:
        if model_id != "Qwen/Qwen3-ASR-0.6B":
            raise OSError("no such model")
        assert "*.safetensors" in allow_patterns
        return str(self._folder)


def test_a_folder_is_taken_as_it_is_or_for_the_checkpoint_in_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").touch()

    assert find_qwen3_weights(str(checkpoint)) == checkpoint
    assert find_qwen3_weights(str(tmp_path)) == checkpoint


def test_a_folder_without_a_model_is_refused_and_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ModelUnavailable, match=r"there is no config\.json in this folder"):
            find_qwen3_weights(str(folder))


def test_a_name_is_looked_up_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(tmp_path))

    assert find_qwen3_weights("Qwen/Qwen3-ASR-0.6B") == tmp_path


@pytest.mark.parametrize(
    ("is_offline", "asked"), [(True, "as HF_HUB_OFFLINE is set"), (False, "the model hub")]
)
def test_a_name_that_cannot_be_had_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_offline: bool, asked: str
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(tmp_path, is_offline=is_offline))

    with pytest.raises(
        ModelUnavailable, match=f"{asked}.*no such model.*hf download Qwen/Qwen3-ASR-9B.*/cache"
    ):
        find_qwen3_weights("Qwen/Qwen3-ASR-9B")


def find_offline(cache: Path) -> str:
    """What the real client of the hub makes of the default model, with this cache and no network."""
    program = (
        "from worker.engines.qwen3_weights import find_qwen3_weights\n"
        "from worker.engines.protocol import ModelUnavailable\n"
        "try: print(find_qwen3_weights('Qwen/Qwen3-ASR-0.6B'))\n"
        "except ModelUnavailable as error: print(error)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    return subprocess.run(
        [sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_offline_only_the_cache_of_the_hub_is_asked(tmp_path: Path) -> None:
    assert "nor to be had from the hub's cache, as HF_HUB_OFFLINE is set" in find_offline(tmp_path)

    model = tmp_path / "models--Qwen--Qwen3-ASR-0.6B"
    snapshot = model / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0" * 40)

    assert find_offline(tmp_path) == str(snapshot)


def test_an_environment_without_qwens_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nagisa", ModuleType("nagisa"))
    monkeypatch.setitem(sys.modules, "qwen_asr", None)

    with pytest.raises(ModelUnavailable, match=r"needs the package qwen_asr.*make run ENGINE=qwen3"):
        Qwen3Engine(Qwen3Config("Qwen/Qwen3-ASR-0.6B")).load(lambda _phase: None)


def test_weights_are_measured_as_they_are_stored(tmp_path: Path) -> None:
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(bytes(300))
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(bytes(200))
    (tmp_path / "config.json").write_bytes(bytes(50))

    assert measure_weights(tmp_path) == 500
