"""The engine reads a model whose files have the form of the published ones, unlike those of the miniature."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, join_segments
from tests.support.qwen3_stand_in import Listener
from tests.support.rows import decode_windows
from tests.support.tiny_qwen3 import SAMPLES, SPOKEN, TINY, WINDOW_S
from worker.engines.model_hub import has_safetensors_model
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.engine import Qwen3Engine
from worker.settings import WorkerSettings

FIRST_ADDED_TOKEN = 151_643
SHORT = [name for name in SPOKEN if len(SAMPLES[name].read()) <= WINDOW_S * SAMPLE_RATE_HZ]
WITH_WORDS = TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)


def publish(source: Path, folder: Path) -> Path:
    """Write a copy of the model in `source` as Qwen publishes its models, and return its folder."""
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "chat_template.json", "preprocessor_config.json"):
        shutil.copy(source / name, folder / name)
    write_json(folder / "config.json", describe(read_json(source / "config.json")))
    publish_tokenizer(source, folder)
    return folder


def describe(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration in its published form."""
    thinker = config["thinker_config"]
    audio, text = thinker["audio_config"], thinker["text_config"]
    del config["dtype"], thinker["tie_word_embeddings"]
    config["transformers_version"] = "4.57.6"
    thinker |= {"architectures": config["architectures"], "dtype": "bfloat16"}
    if thinker["model_type"] == "qwen3_asr_thinker":
        thinker["model_type"] = "qwen3_asr"
    audio |= {"num_hidden_layers": audio["encoder_layers"], "dtype": None, "dropout": 0}
    text |= {"model_type": "qwen3", "dtype": None, "rope_theta": int(text["rope_theta"])}
    text["rope_scaling"]["type"] = "default"
    return config


def publish_tokenizer(source: Path, folder: Path) -> None:
    """Write the vocabulary and its merges as two files, and all tokens beyond it into the configuration."""
    model = read_json(source / "tokenizer.json")["model"]
    config = read_json(source / "tokenizer_config.json")
    added = {int(number): token for number, token in config["added_tokens_decoder"].items()}
    blank = added[min(added)]
    for number in range(min(added), max(added)):
        added.setdefault(number, blank | {"content": f"<blank{number}>"})
    vocabulary = {token: number for token, number in model["vocab"].items() if number < min(added)}
    config["added_tokens_decoder"] = {str(number): added[number] for number in sorted(added)}
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "vocab.json", vocabulary)
    merges = "".join(f"{first} {second}\n" for first, second in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}")


def read_json(file: Path) -> Any:
    return json.loads(file.read_text())


def write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    publish(TINY / "checkpoint", folder / "checkpoint")
    publish(TINY / "aligner", folder / "aligner")
    return folder


def load(folder: Path) -> Qwen3Engine:
    engine = Qwen3Engine(WorkerSettings(model_id=str(folder), device="cpu", batch_windows=8))
    engine.load(lambda _phase: None)
    return engine


def transcribe(engine: Qwen3Engine) -> Iterator[list[Segment]]:
    """Yield the segments of each sample that fits into a window."""
    for name in SHORT:
        samples = SAMPLES[name].read()
        window = Window(0, (Span(0, len(samples)),), samples, len(samples))
        (transcript,) = decode_windows(engine, [window], WITH_WORDS, Listener())
        yield list(transcript.segments)


def test_texts_and_words_are_those_of_the_miniature(published: Path) -> None:
    engine = load(published)

    transcripts = list(transcribe(engine))

    assert [join_segments(segments) for segments in transcripts] == [SAMPLES[name].text for name in SHORT]
    assert transcripts == list(transcribe(load(TINY)))
    assert engine._model._thinker.dtype == torch.float32


def test_each_token_has_its_number(published: Path) -> None:
    names = ("<|endoftext|>", "<|im_end|>", "<|audio_pad|>", "<asr_text>")
    tokenizers = [load(folder)._model._processor._processor.tokenizer for folder in (published, TINY)]
    ours, miniature = (tokenizer.convert_tokens_to_ids(list(names)) for tokenizer in tokenizers)

    assert ours == miniature
    assert min(ours) == FIRST_ADDED_TOKEN


def test_the_files_count_as_a_whole_model(published: Path) -> None:
    assert has_safetensors_model(published / "checkpoint")
    assert not (published / "checkpoint" / "tokenizer.json").exists()
