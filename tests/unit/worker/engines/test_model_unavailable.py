"""Clients see of a path only its last part; the log has all of it."""

import pytest

from shared.jobs import FailureCode
from tests.support.log_lines import capture_log_lines
from worker.engines.protocol import ModelUnavailable, RowFailure, settle


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("The model in /tmp/x/checkpoint cannot be loaded.", "The model in checkpoint cannot be loaded."),
        ("MODEL_ID=/srv/models/qwen: no config.json", "MODEL_ID=qwen: no config.json"),
        ("The cache of the hub is /srv/data/models/hub.", "The cache of the hub is hub."),
        ("No such file: '/srv/a-b/model.bin'", "No such file: 'model.bin'"),
    ],
)
def test_a_path_in_a_message_is_shown_by_its_last_part(message: str, shown: str) -> None:
    def fail() -> None:
        raise ModelUnavailable(message)

    with capture_log_lines() as lines:
        outcome = settle(fail)

    assert outcome == RowFailure(FailureCode.MODEL_UNAVAILABLE, shown)
    assert [line["reason"] for line in lines] == [message]


@pytest.mark.parametrize(
    "message",
    ["Set MODEL_ID to Qwen/Qwen3-ASR-0.6B.", "See https://huggingface.co/Qwen/Qwen3-ASR-0.6B."],
)
def test_names_on_the_hub_and_urls_stay_whole(message: str) -> None:
    assert ModelUnavailable(message).describe_to_clients() == message
