"""The page /docs in a real Chromium: a form that is tried out sends what its user wrote, and no examples."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from api.settings import ApiSettings
from tests.support.api_server import serve_api
from tests.support.scripted_worker import ScriptedWorker

WITHIN_MS = 60_000


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of the machine's own Chromium, without a window."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed, and the tests of /docs need it")
    unconfined = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=unconfined)
        page = browser.new_page()
        page.set_default_timeout(WITHIN_MS)
        yield page
        browser.close()


def try_out(page: Page, base_url: str, operation: str, recording: Path) -> str:
    """Open an operation in /docs, choose a file, execute it, and return the curl command for it."""
    page.goto(f"{base_url}/docs#/{operation}")
    page.get_by_role("button", name="Try it out").click()
    page.locator("input[type=file]").set_input_files(recording)
    page.get_by_role("button", name="Execute").click()
    return page.locator(".curl-command .curl").first.inner_text()


@pytest.mark.parametrize(
    "operation", ["transcriptions/transcribe", "transcriptions/transcribe_as_stream", "jobs/create_job"]
)
def test_a_form_that_is_tried_out_sends_no_examples(
    page: Page, redis_url: str, tmp_path: Path, operation: str
) -> None:
    recording = tmp_path / "recording.wav"
    recording.write_bytes(b"RIFF")
    settings = ApiSettings(redis_url=redis_url, data_dir=tmp_path / "data")
    with serve_api(settings) as base_url, ScriptedWorker(redis_url):
        command = try_out(page, base_url, operation, recording)

    fields = dict(re.findall(r"-F '([^=]+)=([^';]*)", command))
    assert fields.pop("file").startswith("@recording.wav")
    assert not any(fields.values()), command
    assert not re.search("idempotency-key|prefer", command, re.IGNORECASE)
