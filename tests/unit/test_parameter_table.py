"""docs/openai-compatibility.md states the effect of each parameter on each engine."""

import re

import pytest

from api.formats.response_format import ResponseFormat
from api.intake.form_fields import find_lists
from api.intake.forms import Include, ServerVad, TranscriptionForm
from shared.capabilities import Capabilities
from tests.support.documents import read_document
from worker.engines.catalog import EngineName, describe_capabilities

SECTION = read_document("docs/openai-compatibility.md").split("## Parameters\n")[1].split("\n## ")[0]


def read_table() -> dict[str, dict[str, str]]:
    """The cells, by parameter and engine."""
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in SECTION.splitlines()
        if line.startswith("|")
    ]
    engines = [cell.strip("`") for cell in head[1:]]
    return {row[0].strip("`"): dict(zip(engines, row[1:], strict=True)) for row in rows}


def describe(engine: EngineName) -> Capabilities:
    return describe_capabilities(engine, whisper_model="", model_id="Qwen/Qwen3-ASR-0.6B")


def test_there_is_a_row_for_each_field_and_a_column_for_each_engine() -> None:
    table = read_table()

    lists = find_lists(TranscriptionForm)
    fields = {f"{name}[]" if name in lists else name for name in TranscriptionForm.list_names()}
    assert set(table) == fields
    assert all(set(row) == set(EngineName) and all(row.values()) for row in table.values())


@pytest.mark.parametrize("engine", list(EngineName))
def test_missing_capabilities_are_listed_as_refused(engine: EngineName) -> None:
    table, capabilities = read_table(), describe(engine)

    assert "400" in table["include[]"][engine]
    assert ("400" in table["return_timestamps"][engine]) == (not capabilities.word_languages)
    has_all_words = capabilities.word_languages == capabilities.languages
    assert ("400" in table["timestamp_granularities[]"][engine]) == (not has_all_words)
    assert capabilities.context, "the row of `prompt` says so"
    if engine is not EngineName.SCRIPTED:
        assert f"one of {len(capabilities.languages)}" in table["language"][engine]


def test_all_values_are_listed() -> None:
    (first, *_) = read_table()["response_format"].values()
    assert set(re.findall(r"`(\w+)`", first)) == set(ResponseFormat)
    assert all(f"`{value}`" in SECTION for value in Include)


@pytest.mark.parametrize("name", ["threshold", "prefix_padding_ms", "silence_duration_ms"])
def test_the_vad_parameters_have_the_documented_bounds(name: str) -> None:
    field = ServerVad.model_fields[name]
    bounds = {
        type(bound).__name__: getattr(bound, type(bound).__name__.lower(), None) for bound in field.metadata
    }
    assert f"`{name}` ({bounds['Ge']} to {bounds['Le']}, by default {field.default}" in SECTION
