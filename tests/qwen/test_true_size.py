"""Checkpoints of true size have the published dimensions, and their measurement runs with the miniature."""

import subprocess
import sys

import msgspec
import torch
from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration
from qwen_asr.core.transformers_backend.configuration_qwen3_asr import Qwen3ASRConfig

from scripts.purposes import REPOSITORY
from tests.bench.true_size_build import ALIGNER, ASR, Dimensions, describe_model
from tests.bench.true_size_process import MODULE, TOKENS, Batch, Generated, Loaded
from tests.support.tiny_qwen3 import TINY


def count_parameters(size: Dimensions) -> int:
    """Return the parameters of a model that is never filled with numbers."""
    with torch.device("meta"):
        model = Qwen3ASRForConditionalGeneration(Qwen3ASRConfig(**describe_model(size)))
    model.tie_weights()
    return sum(parameter.numel() for parameter in {*model.parameters()})


def test_both_models_have_as_many_parameters_as_the_published_ones() -> None:
    assert count_parameters(ASR) == 782_426_112
    assert count_parameters(ALIGNER) == 917_728_896


def test_loading_and_a_batch_are_measured() -> None:
    batch = Batch(rows=2, window_s=3.0)
    done = subprocess.run(
        [sys.executable, "-m", MODULE, str(TINY / "checkpoint"), "", "cpu"],
        cwd=REPOSITORY,
        input=b"\n" + msgspec.json.encode(batch) + b"\n",
        capture_output=True,
        check=True,
    )

    first, second = done.stdout.splitlines()
    loaded = msgspec.json.decode(first, type=Loaded)
    generated = msgspec.json.decode(second, type=Generated)
    assert list(loaded.phases_s) == ["importing libraries", "finding weights", "loading weights"]
    assert 0 < loaded.resident_mib <= loaded.peak_mib
    assert generated.first_token_s > 0
    assert 1 <= len(generated.callbacks_s) <= TOKENS
