"""Checkpoints of the published dimensions with random weights: Qwen3-ASR-0.6B and Qwen3-ForcedAligner-0.6B.

`python -m tests.bench.true_size_build FOLDER`, in the environment with torch, writes both in bfloat16, in
shards of at most 1 GB. The configurations hold the keys that the code reads. transformers draws the weights
(normal, standard deviation 0.02), so they say nothing about recognition. Tokenizer and processor are those of
the miniature, whose special tokens have the published ids.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.tiny_qwen3 import TINY

ASR_FOLDER, ALIGNER_FOLDER = "asr", "aligner"
PROCESSOR_FILES = (
    "chat_template.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
_ARCHITECTURES = ["Qwen3ASRForConditionalGeneration"]
_END_TOKENS = [151_643, 151_645]
_DEVIATION = 0.02


@dataclass(frozen=True)
class Dimensions:
    """The published dimensions in which the two models differ."""

    encoder_width: int
    encoder_layers: int
    encoder_heads: int
    encoder_ffn: int
    vocabulary: int
    is_tied: bool  # the head shares the weights of the embedding
    positions: int
    classes: int | None = None  # of the aligner, whose head finds moments instead of tokens


ASR = Dimensions(896, 18, 14, 3_584, 151_936, is_tied=True, positions=65_536)
ALIGNER = Dimensions(1_024, 24, 16, 4_096, 152_064, is_tied=False, positions=8_192, classes=5_000)


def describe_model(size: Dimensions) -> dict[str, Any]:
    """Return the configuration of a model, as `config.json` has it."""
    languages = json.loads((TINY / "checkpoint" / "config.json").read_text())["support_languages"]
    thinker: dict[str, Any] = {
        "model_type": "qwen3_forced_aligner" if size.classes else "qwen3_asr",
        "dtype": "bfloat16",
        "architectures": _ARCHITECTURES,
        "audio_config": _describe_encoder(size),
        "text_config": _describe_text_model(size),
        "audio_token_id": 151_676,
        "audio_start_token_id": 151_669,
        "audio_end_token_id": 151_670,
        "initializer_range": _DEVIATION,
    }
    top: dict[str, Any] = {
        "architectures": _ARCHITECTURES,
        "model_type": "qwen3_asr",
        "support_languages": languages,
        "thinker_config": thinker,
        "transformers_version": "4.57.6",
    }
    if size.classes:
        thinker["classify_num"] = size.classes
        top |= {"timestamp_token_id": 151_705, "timestamp_segment_time": 80}
    return top


def _describe_encoder(size: Dimensions) -> Mapping[str, Any]:
    return {
        "model_type": "qwen3_asr_audio_encoder",
        "num_mel_bins": 128,
        "d_model": size.encoder_width,
        "encoder_layers": size.encoder_layers,
        "encoder_attention_heads": size.encoder_heads,
        "encoder_ffn_dim": size.encoder_ffn,
        "downsample_hidden_size": 480,
        "output_dim": 1_024,
        "n_window": 50,
        "n_window_infer": 800,
        "conv_chunksize": 500,
        "max_source_positions": 1_500,
        "activation_function": "gelu",
        "dropout": 0,
        "attention_dropout": 0,
        "activation_dropout": 0,
        "scale_embedding": False,
        "initializer_range": _DEVIATION,
    }


def _describe_text_model(size: Dimensions) -> Mapping[str, Any]:
    return {
        "model_type": "qwen3",
        "vocab_size": size.vocabulary,
        "hidden_size": 1_024,
        "intermediate_size": 3_072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "hidden_act": "silu",
        "max_position_embeddings": size.positions,
        "rope_theta": 1_000_000,
        "rms_norm_eps": 1e-6,
        "use_cache": True,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": size.is_tied,
        "initializer_range": _DEVIATION,
        "rope_scaling": {
            "interleaved": True,
            "mrope_interleaved": True,
            "mrope_section": [24, 20, 20],
            "rope_type": "default",
            "type": "default",
        },
    }


def build(folder: Path, size: Dimensions, *, seed: int) -> None:
    """Write a checkpoint to `folder`; a half-written one is never left under that name."""
    import torch  # noqa: PLC0415 - only the environment of the engine has it
    from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration  # noqa: PLC0415
    from qwen_asr.core.transformers_backend.configuration_qwen3_asr import (  # noqa: PLC0415
        Qwen3ASRConfig,
    )

    config = describe_model(size)
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    # The class changes the values that it is given.
    model: Any = Qwen3ASRForConditionalGeneration(Qwen3ASRConfig(**json.loads(json.dumps(config))))
    torch.set_default_dtype(torch.float32)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(part, max_shard_size="1GB")
    # As published, not as transformers writes it back.
    (part / "config.json").write_text(json.dumps(config, indent=2))
    generation = {"do_sample": False, "eos_token_id": _END_TOKENS, "pad_token_id": _END_TOKENS[0]}
    (part / "generation_config.json").write_text(json.dumps(generation))
    for name in PROCESSOR_FILES:
        shutil.copy(TINY / "checkpoint" / name, part / name)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


if __name__ == "__main__":
    _out = Path(sys.argv[1])
    _out.mkdir(parents=True, exist_ok=True)
    for _seed, (_name, _size) in enumerate(((ASR_FOLDER, ASR), (ALIGNER_FOLDER, ALIGNER)), start=1):
        if not (_out / _name).exists():
            build(_out / _name, _size, seed=_seed)
