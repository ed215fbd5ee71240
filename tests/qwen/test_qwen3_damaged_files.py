"""Damaged or missing weights are reported, with Qwen's own package and the hub's client."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.endpoints import URL
from tests.support.server import RealServer
from tests.support.silent_hub import fill_cache, open_silent_hub
from tests.support.tiny_qwen3 import TINY, read_file
from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3.aligner import load_aligner
from worker.engines.qwen3.device import Placement
from worker.engines.qwen3.engine import Qwen3Engine
from worker.settings import WorkerSettings

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 8284792\n"
MODEL = "Qwen/Qwen3-ASR-0.6B"
MakeServer = Callable[..., RealServer]


def cut_weights(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 1_000_000)


def empty_weights(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 0)


def fetch_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(LFS_POINTER)


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_tokenizer(folder: Path) -> None:
    os.truncate(folder / "tokenizer.json", 100_000)


def lose_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def cut_configuration(folder: Path) -> None:
    os.truncate(folder / "config.json", 300)


DAMAGES = [
    cut_weights,
    empty_weights,
    fetch_no_weights,
    lose_weights,
    cut_tokenizer,
    lose_tokenizer,
    cut_configuration,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused_with_the_reason(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TINY / "checkpoint", folder)
    damage(folder)

    with pytest.raises(ModelUnavailable, match=f"model in {folder} cannot be loaded .*Set MODEL_ID .*again"):
        Qwen3Engine(WorkerSettings(model_id=str(folder), device="cpu")).load(lambda _phase: None)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_aligner_is_refused_with_the_reason(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = tmp_path / "aligner"
    shutil.copytree(TINY / "aligner", folder)
    damage(folder)

    with pytest.raises(ModelUnavailable, match=f"aligner in {folder} cannot be loaded .*Set ALIGNER_ID"):
        load_aligner(str(folder), Placement("cpu", torch.float32))


def test_a_damaged_model_fails_the_job_at_once_with_the_remedy(
    make_qwen_server: MakeServer, tmp_path: Path
) -> None:
    shutil.copytree(TINY / "checkpoint", tmp_path / "model")
    cut_weights(tmp_path / "model")
    server = make_qwen_server(MODEL_ID=str(tmp_path / "model")).start()

    answer = server.client.post(URL, files={"file": read_file("en_hello")})

    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert error["code"] == "model_unavailable"
    assert "SafetensorError" in error["message"]
    assert "Set MODEL_ID to a Qwen3-ASR model" in error["message"]
    assert server.model_process() is None


def find_weights(cache: Path, endpoint: str) -> str:
    """The outcome of a search for the default model by the hub's client in Qwen's environment."""
    program = (
        "from worker.engines.qwen3.loading import find_qwen3_weights\n"
        "from worker.engines.protocol import ModelUnavailable\n"
        f"try: print(find_qwen3_weights({MODEL!r}))\n"
        "except ModelUnavailable as error: print(error)"
    )
    environment = {"HF_HUB_CACHE": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_ETAG_TIMEOUT": "1"}
    command = [sys.executable, "-P", "-c", program]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_silent_hub_does_not_delay_a_start(tmp_path: Path) -> None:
    with open_silent_hub() as endpoint:
        assert "timed out" in find_weights(tmp_path, endpoint)

        whole = sorted(path.name for path in (TINY / "checkpoint").iterdir())
        snapshot = fill_cache(tmp_path, MODEL, whole)
        assert find_weights(tmp_path, endpoint) == str(snapshot)
