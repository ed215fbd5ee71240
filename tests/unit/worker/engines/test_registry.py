"""Each engine is made from the settings without loading anything, and offers what it says it does."""

import subprocess
import sys
from pathlib import Path

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from worker.engines.catalogue import WHISPER_LANGUAGES, EngineName
from worker.engines.protocol import Engine
from worker.engines.registry import create_engine
from worker.engines.scripted import ScriptedEngine
from worker.engines.whisper import WhisperEngine
from worker.settings import WorkerSettings

CLASSES = {EngineName.WHISPER: WhisperEngine, EngineName.SCRIPTED: ScriptedEngine}


@pytest.mark.parametrize("name", EngineName)
def test_there_is_an_engine_of_each_name(name: EngineName, tmp_path: Path) -> None:
    engine: Engine = create_engine(WorkerSettings(engine=name, data_dir=tmp_path))

    assert type(engine) is CLASSES[name]
    assert engine.batch_windows >= 1
    assert list(tmp_path.iterdir()) == []


def test_a_misbehaviour_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="no_such"):
        create_engine(WorkerSettings(engine=EngineName.SCRIPTED, scripted_misbehaviour="no_such"))


def test_making_engines_imports_no_model_code() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import worker.engines.registry, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert {"av", "ctranslate2", "faster_whisper", "onnxruntime", "tokenizers", "torch"}.isdisjoint(loaded)


def test_whisper_offers_the_languages_of_every_multilingual_model() -> None:
    # Cantonese came with large-v3 alone, and Javanese goes by its present code.
    assert set(_LANGUAGE_CODES) - {"yue", "jw"} | {"jv"} == WHISPER_LANGUAGES
    assert len(WHISPER_LANGUAGES) == 99
