"""Key names stand in one module: the script takes them from there, and the schema lists the same."""

import re

import pytest

from shared.record import scripts
from shared.record.keys import Key, RecordKey, job_of_channel, wake_up_channel
from shared.record.scripts import script_source
from tests.support.record_trace import Schema

CHANNELS = {Key.WAKE_UPS, Key.DELIVERY_OPENED, Key.JOB_QUEUED}


def test_the_schema_lists_all_key_names() -> None:
    listed = {re.sub(r"[A-Z]+$", "", row.name) for row in Schema().keys}
    assert listed == {key.value for key in Key if key not in CHANNELS}


def test_the_script_has_the_names_of_the_keys() -> None:
    source = script_source()
    assert f"key('{Key.JOB.value}', job_id)" in source
    assert not re.search(r"^[^-]*\bkeys\.[a-z]", source, re.MULTILINE)


def test_a_misspelled_key_in_the_script_fails_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "Key", {key.name: key for key in Key if key is not Key.JOB})
    with pytest.raises(KeyError, match="JOB"):
        script_source.__wrapped__()


def test_a_key_of_a_job_ends_in_its_id() -> None:
    assert Key.JOB.of("7") == RecordKey("job:7")
    assert job_of_channel(wake_up_channel("7")) == "7"
