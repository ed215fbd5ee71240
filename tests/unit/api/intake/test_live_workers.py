"""Models are listed and found by all the names under which they transcribe."""

import msgspec
import pytest

from api.errors.tree import ModelNotFound
from api.intake.live_workers import find_model, list_models
from tests.support.scripted_worker import CAPABILITIES

QWEN = msgspec.structs.replace(CAPABILITIES, engine="qwen3", model="Qwen/Qwen3-ASR-0.6B")
WHISPER = msgspec.structs.replace(CAPABILITIES, engine="whisper", model="base")
ALIASES = frozenset({"whisper-1", "gpt-4o-transcribe"})


def test_served_models_come_first_and_then_the_aliases() -> None:
    models = list_models([WHISPER, QWEN], ALIASES)
    assert [model.id for model in models] == ["Qwen/Qwen3-ASR-0.6B", "base", "gpt-4o-transcribe", "whisper-1"]


def test_an_alias_that_is_the_name_of_a_model_is_listed_once() -> None:
    assert [model.id for model in list_models([WHISPER], {"base"})] == ["base"]


@pytest.mark.parametrize(
    ("model", "owner"),
    [("Qwen/Qwen3-ASR-0.6B", "Qwen"), ("base", "qwen3")],
)
def test_the_owner_is_in_the_name_on_a_hub_and_else_it_is_the_engine(model: str, owner: str) -> None:
    models = list_models([msgspec.structs.replace(QWEN, model=model)], {"whisper-1"})
    assert {listed.owned_by for listed in models} == {owner}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Qwen/Qwen3-ASR-0.6B", "Qwen/Qwen3-ASR-0.6B"),
        ("Qwen3-ASR-0.6B", "Qwen/Qwen3-ASR-0.6B"),
        ("whisper-1", "whisper-1"),
    ],
)
def test_a_model_is_found_by_each_of_its_names(name: str, found: str) -> None:
    assert find_model(name, [QWEN], ALIASES).id == found


@pytest.mark.parametrize("name", ["", "gpt-9", "Qwen", "Qwen/", "other/Qwen3-ASR-0.6B"])
def test_any_other_name_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"Qwen/Qwen3-ASR-0\.6B"):
        find_model(name, [QWEN], ALIASES)
