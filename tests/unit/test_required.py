"""If all tests are required, a skipped test is a failure."""

import pytest

from tests.conftest import refuse_skip


def make_skip() -> pytest.TestReport:
    """Return the report of a test that skipped itself."""
    return pytest.TestReport(
        nodeid="test",
        location=("test.py", 1, "test"),
        keywords={},
        outcome="skipped",
        longrepr=("test.py", 1, "Skipped: no server"),
        when="call",
    )


def test_a_skip_is_a_failure_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_ALL", "1")
    report = make_skip()

    refuse_skip(report)

    assert report.failed
    assert "no server" in str(report.longrepr)


def test_a_skip_stays_a_skip_if_nothing_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    report = make_skip()

    refuse_skip(report)

    assert report.skipped


def test_an_expected_failure_is_not_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_ALL", "1")
    report = make_skip()
    report.wasxfail = "known"

    refuse_skip(report)

    assert report.skipped
