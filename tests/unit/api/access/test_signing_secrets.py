"""Webhook secrets: what is one, whose it is, and that none is shown."""

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from api.access.api_keys import BadApiKeys, read_api_keys
from api.access.signing_secrets import (
    BadWebhookSecret,
    WebhookSecrets,
    check_secret,
    parse_server_secrets,
)
from api.settings import ApiSettings
from cli.up.data_folder import keep_webhook_secret
from cli.up.errors import CannotStart


def make_secret(length: int, letter: bytes = b"s") -> str:
    return f"whsec_{base64.b64encode(letter * length).decode()}"


ONE, OTHER = make_secret(32), make_secret(32, b"t")
KEY = "lab=k3y-0123456789abcdef"


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_is_24_to_64_bytes(length: int) -> None:
    assert check_secret(make_secret(length)) == make_secret(length)
    Webhook(make_secret(length))  # takes it, too


@pytest.mark.parametrize(
    "wrong",
    ["", "whsec_", make_secret(23), make_secret(65), ONE.removeprefix("whsec_"), "whsec_?!", f"{ONE} {ONE}"],
)
def test_anything_else_is_none_and_is_not_shown(wrong: str) -> None:
    with pytest.raises(BadWebhookSecret) as refusal:
        check_secret(wrong)
    assert not wrong or wrong == "whsec_" or wrong not in str(refusal.value)


def test_a_setting_that_holds_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ValidationError) as refusal:
        ApiSettings.model_validate({"webhook_secret": "whsec_c2hvcnQ="})
    assert "c2hvcnQ" not in str(refusal.value)


def test_the_server_may_have_several_and_keys_their_own() -> None:
    secrets = WebhookSecrets(parse_server_secrets(f"{ONE}, {OTHER}"), {"lab": OTHER})
    assert secrets.find("", must_be_own=False) == secrets.find("shop", must_be_own=False) == (ONE, OTHER)
    assert secrets.find("lab", must_be_own=False) == secrets.find("lab", must_be_own=True) == (OTHER,)
    assert WebhookSecrets().find("lab", must_be_own=False) == ()
    assert ONE not in repr(secrets)


def test_where_a_key_had_its_own_that_of_the_server_does_not_stand_for_it() -> None:
    assert WebhookSecrets((ONE,)).find("lab", must_be_own=True) == ()


def test_a_key_names_its_secret_beside_its_limits() -> None:
    keys = read_api_keys(f"{KEY} max_audio_s=600 webhook_secret={ONE},shop=k3y-fedcba9876543210")
    assert keys.webhook_secrets == {"lab": ONE}
    found = keys.find("k3y-0123456789abcdef")
    assert found
    assert (found.limits.max_audio_s, found.webhook_secret) == (600, ONE)
    assert ONE not in repr(found)


@pytest.mark.parametrize(
    "words", ["webhook_secret=whsec_c2hvcnQ=", f"webhook_secret={ONE} webhook_secret={OTHER}"]
)
def test_a_wrong_secret_of_a_key_is_refused_by_its_place(words: str) -> None:
    with pytest.raises(BadApiKeys, match=r"^entry 1: ") as refusal:
        read_api_keys(f"{KEY} {words}")
    assert "c2hvcnQ" not in str(refusal.value)
    assert ONE not in str(refusal.value)


def test_make_run_makes_a_secret_once_and_keeps_it_for_its_owner(tmp_path: Path) -> None:
    secret = keep_webhook_secret(tmp_path)
    assert check_secret(secret) == keep_webhook_secret(tmp_path)
    assert (tmp_path / "webhook_secret").stat().st_mode & 0o777 == 0o600
    assert keep_webhook_secret(tmp_path) != keep_webhook_secret(_make_folder(tmp_path / "other"))


def test_a_spoilt_file_is_said_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "webhook_secret").write_text("whsec_c2hvcnQ=")
    with pytest.raises(CannotStart, match=r"webhook_secret cannot be used") as refusal:
        keep_webhook_secret(tmp_path)
    assert "c2hvcnQ" not in str(refusal.value)


def _make_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder
