"""Each engine is created from the settings without loading anything, with the declared capabilities."""

import subprocess
import sys
from pathlib import Path

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES
from pydantic import ValidationError

from shared.languages import match_language, parse_language
from worker.engines.catalog import (
    DEFAULT_ALIGNER_ID,
    QWEN3_LANGUAGE_NAMES,
    QWEN3_WORD_LANGUAGES,
    WHISPER_LANGUAGES,
    EngineName,
    LanguageChanges,
    describe_capabilities,
)
from worker.engines.protocol import Engine
from worker.engines.qwen3.aligner import choose_aligner
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.vllm_engine import Qwen3VllmEngine
from worker.engines.registry import create_engine
from worker.engines.scripted.engine import ScriptedEngine
from worker.engines.whisper.engine import WhisperEngine
from worker.settings import WorkerSettings

CLASSES = {
    EngineName.QWEN3: Qwen3Engine,
    EngineName.QWEN3_VLLM: Qwen3VllmEngine,
    EngineName.WHISPER: WhisperEngine,
    EngineName.SCRIPTED: ScriptedEngine,
}


@pytest.mark.parametrize("name", EngineName)
def test_every_name_has_an_engine(name: EngineName, tmp_path: Path) -> None:
    engine: Engine = create_engine(WorkerSettings(engine=name, data_dir=tmp_path))

    assert type(engine) is CLASSES[name]
    assert engine.batch_windows >= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [EngineName.QWEN3, EngineName.QWEN3_VLLM])
def test_an_engine_looks_for_language_changes_as_its_setting_says(name: EngineName, tmp_path: Path) -> None:
    engine = create_engine(
        WorkerSettings(engine=name, data_dir=tmp_path, language_changes=LanguageChanges.ALWAYS)
    )
    assert isinstance(engine, Qwen3Engine | Qwen3VllmEngine)
    assert engine._settings.language_changes is LanguageChanges.ALWAYS


def test_an_unknown_misbehaviour_is_an_error() -> None:
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


@pytest.mark.parametrize(("code", "name"), QWEN3_LANGUAGE_NAMES.items())
def test_qwens_own_name_of_a_language_leads_to_its_code(code: str, name: str) -> None:
    spelled = parse_language(name)

    assert spelled is not None
    assert match_language(spelled, QWEN3_LANGUAGE_NAMES) == code


def test_qwen3_is_described_as_the_model_that_it_loads() -> None:
    described = describe_capabilities(EngineName.QWEN3, whisper_model="tiny", model_id="Qwen/Qwen3-ASR-1.7B")

    assert (described.engine, described.model) == ("qwen3", "Qwen/Qwen3-ASR-1.7B")
    assert described.languages == set(QWEN3_LANGUAGE_NAMES)
    assert described.word_languages == QWEN3_WORD_LANGUAGES


@pytest.mark.parametrize("engine", [EngineName.QWEN3, EngineName.QWEN3_VLLM, EngineName.WHISPER])
def test_a_model_in_a_folder_is_described_by_the_name_of_the_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: EngineName
) -> None:
    (tmp_path / "lab" / "qwen").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    folders = ["lab/qwen", "./lab/qwen/", str(tmp_path / "lab" / "qwen"), "/nowhere/qwen"]

    described = [describe_capabilities(engine, whisper_model=folder, model_id=folder) for folder in folders]

    assert [capabilities.model for capabilities in described] == ["qwen"] * len(folders)


@pytest.mark.parametrize(("given", "has_words"), [("none", False), ("None", False), ("", True)])
def test_without_an_aligner_qwen3_offers_no_word_timestamps(
    monkeypatch: pytest.MonkeyPatch, given: str, *, has_words: bool
) -> None:
    monkeypatch.setenv("ALIGNER_ID", given)  # an empty variable counts as not set
    aligner_id = WorkerSettings().aligner_id

    described = describe_capabilities(
        EngineName.QWEN3, whisper_model="", model_id="lab/qwen", aligner_id=aligner_id
    )

    assert bool(described.word_languages) == has_words


def test_the_aligner_in_the_folder_of_the_model_goes_before_the_default(tmp_path: Path) -> None:
    assert choose_aligner(DEFAULT_ALIGNER_ID, str(tmp_path)) == DEFAULT_ALIGNER_ID
    (tmp_path / "aligner").mkdir()
    (tmp_path / "aligner" / "config.json").touch()

    assert choose_aligner(DEFAULT_ALIGNER_ID, str(tmp_path)) == str(tmp_path / "aligner")
    assert choose_aligner("lab/aligner", str(tmp_path)) == "lab/aligner"
    assert choose_aligner("", str(tmp_path)) == ""


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:1"])
def test_a_device_that_torch_would_not_know_is_refused_at_the_start(device: str) -> None:
    with pytest.raises(ValidationError, match="device"):
        WorkerSettings(device=device)


def test_whisper_offers_the_languages_of_every_multilingual_model() -> None:
    # Cantonese came with large-v3 alone, and Javanese goes by its present code.
    assert set(_LANGUAGE_CODES) - {"yue", "jw"} | {"jv"} == WHISPER_LANGUAGES
    assert len(WHISPER_LANGUAGES) == 99
