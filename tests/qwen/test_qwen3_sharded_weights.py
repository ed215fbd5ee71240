"""Weights in several files are loaded without a progress bar in the log."""

import shutil
import subprocess
import sys
from pathlib import Path

from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration

from scripts.purposes import REPOSITORY
from tests.support.tiny_qwen3 import TINY

LOAD = """
import sys
from worker.engines.qwen3.engine import Qwen3Engine
from worker.settings import WorkerSettings
Qwen3Engine(WorkerSettings(model_id=sys.argv[1], device="cpu")).load(lambda _phase: None)
"""


def test_loading_several_files_of_weights_draws_no_progress_bar(tmp_path: Path) -> None:
    checkpoint = TINY / "checkpoint"
    model = Qwen3ASRForConditionalGeneration.from_pretrained(str(checkpoint))
    model.save_pretrained(tmp_path, max_shard_size="10MB")
    for file in checkpoint.glob("*.json"):
        shutil.copy(file, tmp_path / file.name)

    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert "it/s" not in loaded.stderr
