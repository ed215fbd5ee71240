"""The api reads its settings from the environment and refuses invalid ones at once."""

import pytest
from pydantic import ValidationError

from api.settings import ApiSettings


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "1000")
    monkeypatch.setenv("LISTEN_FD", "")
    settings = ApiSettings()
    assert (settings.port, settings.max_upload_bytes, settings.listen_fd) == (9000, 1000, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("HEARTBEAT_S", "-1"),
        ("PUBLIC_URL", "foo"),
        ("INTERACTIVE_MAX_AUDIO_S", "inf"),
        ("MAX_AUDIO_S", "inf"),
        ("LEASE_S", "nan"),
        ("JOB_TTL_S", "1e999"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.lower()):
        ApiSettings()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ApiSettings.model_fields.values())
