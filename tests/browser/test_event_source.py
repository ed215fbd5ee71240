"""EventSource in a real Chromium, on a page of another origin: it follows a job through a cut to its end."""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import httpx_sse
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from shared.events import Loading
from shared.transcripts import Segment
from tests.support.documents import ADDRESS, find_block
from tests.support.recorded_jobs import record_job
from tests.support.scripted_worker import Script, ScriptedWorker
from tests.support.server import RealServer, wait_for

KEY = "lab-key-0123456789"
BEARER = {"Authorization": f"Bearer {KEY}"}
STEPS = 12
SCRIPT = Script(
    first=[Loading("step", float(number)) for number in range(STEPS)],
    segments=[Segment(0.0, 1.0, "Hello – 你好.", "en")],
)
WITHIN_MS = 60_000


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium, without a window."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed, and the tests of EventSource need it")
    # Its sandbox does not start for root, as whom containers run their tests.
    unconfined = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=unconfined)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Where the page comes from."""
    handler = partial(_QuietHandler, directory=str(Path(__file__).parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        serving = threading.Thread(target=pages.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{pages.server_port}"
        pages.shutdown()
        serving.join()


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    """The page, opened in a browser that knows nothing of other tests."""
    context = browser.new_context()
    context.set_default_timeout(WITHIN_MS)
    page = context.new_page()
    page.goto(f"{origin}/page.html")
    yield page
    context.close()


@pytest.fixture(scope="module")
def server(origin: str) -> Iterator[RealServer]:
    """A server that asks for keys and lets the page in; its worker is up to each test."""
    folder = Path(tempfile.mkdtemp(prefix="qasr-"))
    with RealServer(folder, API_KEYS=f"lab={KEY}", CORS_ORIGINS=origin, HEARTBEAT_S="0.2") as server:
        server.redis.start()
        server.api = server.start_api()
        wait_for(lambda: answers(server), what="the start of the api")
        yield server
    shutil.rmtree(folder)


def answers(server: RealServer) -> bool:
    try:
        return server.client.get("/health").is_success
    except httpx.TransportError:
        return False


def follow(page: Page, server: RealServer, job: str) -> None:
    """Get a token in the page, and let EventSource follow the job."""
    asked = {"server": server.base_url, "job": job, "key": KEY}
    page.evaluate("async (given) => follow(await getEventsUrl(given.server, given.job, given.key))", asked)


def read_log(server: RealServer, job: str) -> list[list[str]]:
    """All events of a job, as a client that was never cut reads them."""
    with httpx_sse.connect_sse(server.client, "GET", f"{job}/events", headers=BEARER) as source:
        return [[event.id, event.event, event.data] for event in source.iter_sse()]


def test_it_resumes_by_itself_sees_every_event_once_and_stops_after_the_last(
    page: Page, server: RealServer
) -> None:
    steps = threading.Semaphore(0)
    job = record_job(server.redis.url, key_name="lab")
    with ScriptedWorker(server.redis.url, SCRIPT, step=steps.acquire) as worker:
        follow(page, server, job)
        steps.release(STEPS // 3)
        page.wait_for_function(f"seen.length >= {2 + STEPS // 3}")
        server.end(server.api)
        page.wait_for_function("states.at(-1) === 'connecting'")
        worker.wait_for_claim()
        steps.release(STEPS // 3)
        server.api = server.start_api()
        page.wait_for_function("states.at(-1) === 'open'")
        steps.release(STEPS)
        page.wait_for_function("states.at(-1) === 'closed'")
    seen = page.evaluate("seen")
    assert seen == read_log(server, job)
    assert [name for _, name, _ in seen[-3:]] == ["segment", "progress", "succeeded"]
    assert page.evaluate("source.readyState") == 2
    assert "status=204" in server.log_text()


def test_the_lines_of_the_documentation_work_in_a_page(page: Page, server: RealServer) -> None:
    lines = find_block("js", "docs/jobs.md")
    job = record_job(server.redis.url, key_name="lab")
    events_url = server.client.post(f"{job}/stream-token", headers=BEARER).json()["events_url"]
    pasted = f"(events_url) => new Promise((show) => {{ {lines.replace(ADDRESS, server.base_url)} }})"
    with ScriptedWorker(server.redis.url, SCRIPT):
        assert page.evaluate(pasted, events_url) == SCRIPT.segments[0].text


def test_the_token_is_in_no_log(page: Page, server: RealServer) -> None:
    job = record_job(server.redis.url, key_name="lab")
    follow(page, server, job)
    page.wait_for_function("seen.length === 1")
    token = page.evaluate("new URL(source.url).searchParams.get('token')")
    server.client.delete(job, headers=BEARER)
    page.wait_for_function("states.at(-1) === 'closed'")
    assert len(token) > 40
    assert token not in server.log_text()


def test_a_stream_that_may_not_be_read_is_not_asked_for_again(page: Page, server: RealServer) -> None:
    job = record_job(server.redis.url, key_name="lab")
    page.evaluate("(url) => follow(url)", f"{server.base_url}{job}/events?token=nonsense")
    page.wait_for_function("states.length > 0")
    assert page.evaluate("states") == ["closed"]
