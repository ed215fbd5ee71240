"""The weights of Qwen3-ASR come from a folder or the hub; without both, the error names the remedy."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.support.silent_hub import fill_cache, open_silent_hub
from worker.engines.model_hub import has_safetensors_model
from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.loading import find_qwen3_weights, measure_weights
from worker.settings import WorkerSettings

MODEL = "Qwen/Qwen3-ASR-0.6B"
FILES = ["config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json", "merges.txt"]
WHOLE = [*FILES, "model.safetensors"]


class Hub(ModuleType):
    """A stand-in for `huggingface_hub` with one model and an empty cache, which records requests."""

    def __init__(self, folder: Path, *, is_offline: bool = False) -> None:
        super().__init__("huggingface_hub")
        self.constants = SimpleNamespace(
            HF_HUB_OFFLINE=is_offline, HF_HUB_CACHE="/cache", HF_HUB_ETAG_TIMEOUT=10
        )
        self._folder = folder

    def HfApi(self) -> "Hub":  # noqa: N802 - named as in the package
        return self

    def model_info(self, model_id: str, *, timeout: float) -> None:
        assert timeout == 10
        if model_id != MODEL:
            raise OSError("no such model")

    def snapshot_download(self, model_id: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        if model_id != MODEL or local_files_only:
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
def test_a_name_that_the_hub_cannot_provide_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_offline: bool, asked: str
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(tmp_path, is_offline=is_offline))

    with pytest.raises(
        ModelUnavailable, match=f"{asked}.*no such model.*hf download Qwen/Qwen3-ASR-9B.*/cache"
    ):
        find_qwen3_weights("Qwen/Qwen3-ASR-9B")


def find_in(cache: Path, **environment: str) -> str:
    """The outcome of a search for the default model by the real client of the hub, with this cache."""
    program = (
        "from worker.engines.qwen3.loading import find_qwen3_weights\n"
        "from worker.engines.protocol import ModelUnavailable\n"
        f"try: print(find_qwen3_weights({MODEL!r}))\n"
        "except ModelUnavailable as error: print(error)"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=os.environ | {"HF_HUB_CACHE": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_offline_only_the_cache_of_the_hub_is_searched(tmp_path: Path) -> None:
    assert "nor available from the hub's cache, as HF_HUB_OFFLINE is set" in find_in(
        tmp_path, HF_HUB_OFFLINE="1"
    )

    snapshot = fill_cache(tmp_path, MODEL, WHOLE)

    assert find_in(tmp_path, HF_HUB_OFFLINE="1") == str(snapshot)


def test_a_cached_model_needs_no_answer_from_a_silent_hub(tmp_path: Path) -> None:
    snapshot = fill_cache(tmp_path, MODEL, WHOLE)

    with open_silent_hub() as endpoint:
        assert find_in(tmp_path, HF_ENDPOINT=endpoint) == str(snapshot)


@pytest.mark.parametrize("cached", [[], FILES, ["config.json", "model.safetensors"]])
def test_a_silent_hub_is_given_up(tmp_path: Path, cached: list[str]) -> None:
    fill_cache(tmp_path, MODEL, cached)

    with open_silent_hub() as endpoint:
        said = find_in(tmp_path, HF_ENDPOINT=endpoint, HF_HUB_ETAG_TIMEOUT="1")

    assert "nor available from the model hub" in said
    assert "timed out" in said


def test_weights_in_several_files_are_whole_with_the_last_of_them(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).touch()
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"head": parts[0], "body": parts[1], "tail": parts[1]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    (tmp_path / parts[0]).touch()
    assert not has_safetensors_model(tmp_path)
    (tmp_path / parts[1]).touch()
    assert has_safetensors_model(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight')
    assert not has_safetensors_model(tmp_path)


def test_an_environment_without_qwens_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nagisa", ModuleType("nagisa"))
    monkeypatch.setitem(sys.modules, "qwen_asr", None)

    with pytest.raises(ModelUnavailable, match=r"needs the package qwen_asr.*make run ENGINE=qwen3"):
        Qwen3Engine(WorkerSettings(model_id="Qwen/Qwen3-ASR-0.6B")).load(lambda _phase: None)


def test_weights_are_measured_as_they_are_stored(tmp_path: Path) -> None:
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(bytes(300))
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(bytes(200))
    (tmp_path / "config.json").write_bytes(bytes(50))

    assert measure_weights(tmp_path) == 500


@pytest.mark.parametrize(
    ("error", "named"),
    [
        ("ImportError('libcudnn.so.9: cannot open shared object file', name='torch._C')", r"torch\._C"),
        ("OSError('libcudart.so.12: cannot open shared object file')", "torch"),
    ],
)
def test_a_library_that_is_missing_below_torch_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, named: str
) -> None:
    (tmp_path / "torch.py").write_text(f"raise {error}")
    monkeypatch.setitem(sys.modules, "nagisa", ModuleType("nagisa"))
    monkeypatch.setitem(sys.modules, "qwen_asr", ModuleType("qwen_asr"))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModelUnavailable, match=rf"needs the package {named}, .*\(lib.*make run ENGINE=qwen3"):
        Qwen3Engine(WorkerSettings(model_id=MODEL)).load(lambda _phase: None)
