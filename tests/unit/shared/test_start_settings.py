"""The settings at a start: a wrong one makes one line, and misspelt names are noticed."""

import os

import pytest

from api.settings import ApiSettings
from cli.up.settings import LocalServerSettings
from shared.engine_choice import EngineChoice
from shared.settings import SharedSettings
from shared.start_settings import BadSetting, find_misspelt, list_names, read_settings
from tests.support.settings_table import find_settings
from worker.settings import WorkerSettings, WorkerStartSettings


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MODLE_ID", "MODEL_ID"),
        ("IDLE_TIMOUT", "IDLE_TIMEOUT"),
        ("idle_timeout_s", "IDLE_TIMEOUT"),
        ("API_KEY", "API_KEYS"),
        ("WEBHOOK_SECRETS", "WEBHOOK_SECRET"),
        ("REDIS_FSYNK", "REDIS_FSYNC"),
    ],
)
def test_a_misspelt_name_leads_to_the_nearest_setting(name: str, nearest: str) -> None:
    assert find_misspelt([name], list_names(LocalServerSettings)) == {name: nearest}


def test_settings_and_common_variables_are_not_taken_for_misspelt_ones() -> None:
    common = ("HOME", "HOSTNAME", "PATH", "SHELL", "LANG", "REDIS_HOST", "REDIS_PORT", "OMP_NUM_THREADS")
    others = ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "HF_TOKEN", "XDG_DATA_DIRS", "PYTHONUNBUFFERED")

    for kind in (SharedSettings, ApiSettings, WorkerSettings, LocalServerSettings):
        # A process does not know the settings of the others.
        given = (*common, *others, *find_settings(), "log_level", "WINDOW_TIMEOUT", "LOAD_TIMEOUT")
        assert find_misspelt(given, list_names(kind)) == {}


def test_a_setting_is_refused_by_the_name_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAD_TIMEOUT", "long")

    with pytest.raises(BadSetting, match=r"^LOAD_TIMEOUT=long: it should be a number\.$"):
        read_settings(WorkerSettings)


@pytest.mark.parametrize("url", ["redis://user:s3cret@host:port/0", "http://user:s3cret@host"])
def test_a_refused_url_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    with pytest.raises(BadSetting) as refusal:
        read_settings(SharedSettings)

    assert str(refusal.value).startswith("REDIS_URL: ")
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("engine", ["whisper", "auto"])
def test_a_model_id_for_whisper_is_refused_with_two_ways_out(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    whisper = EngineChoice("whisper", "no NVIDIA device found")
    monkeypatch.setattr("worker.settings.choose_installed_engine", lambda: whisper)
    monkeypatch.setenv("ENGINE", engine)
    monkeypatch.setenv("MODEL_ID", "Qwen/Qwen3-ASR-1.7B")

    with pytest.raises(BadSetting, match=r"MODEL_ID=Qwen/Qwen3-ASR-1\.7B: .*ENGINE=qwen3.*remove MODEL_ID"):
        read_settings(WorkerStartSettings)


@pytest.mark.parametrize("engine", ["qwen3", "qwen3-vllm", "scripted"])
def test_a_model_id_for_other_engines_is_accepted(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setenv("ENGINE", engine)
    monkeypatch.setenv("MODEL_ID", "Qwen/Qwen3-ASR-1.7B")

    assert read_settings(WorkerStartSettings).model_id == os.environ["MODEL_ID"]


def test_a_hub_model_is_a_name_for_the_engine_that_reads_it() -> None:
    whisper = WorkerSettings(engine="whisper", whisper_model="Systran/faster-whisper-tiny")

    assert whisper.hub_model == "Systran/faster-whisper-tiny"
    assert WorkerSettings(engine="whisper").hub_model is None
    assert WorkerSettings(engine="whisper", whisper_model="/models").hub_model is None
    assert WorkerSettings(engine="scripted").hub_model is None
    assert WorkerSettings(engine="qwen3").hub_model == "Qwen/Qwen3-ASR-0.6B"
