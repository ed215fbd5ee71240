"""The api on a free port of loopback, in this process: a real HTTP server for tests of its doors."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import structlog

from api.app import create_app
from api.server import ApiServer
from api.settings import ApiSettings
from tests.fakes.redis_fixture import RedisServer

START_WITHIN_S = 60.0
MAX_UPLOAD_BYTES = 3 << 20


@contextmanager
def serve_api(settings: ApiSettings) -> Iterator[str]:
    """Serve with these settings, but on a port that is free; gives the base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        inherited = settings.model_copy(update={"listen_fd": listening.detach()})
        server = ApiServer(create_app(inherited), inherited)
        thread = threading.Thread(target=server.run)
        thread.start()
        deadline = time.monotonic() + START_WITHIN_S
        while not server.started:
            assert thread.is_alive(), "the api ended before it had started"
            assert time.monotonic() < deadline, "the api does not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def session_settings(session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> ApiSettings:
    """The settings of the api that tests share."""
    return ApiSettings(
        redis_url=session_redis.url,
        data_dir=tmp_path_factory.mktemp("data"),
        max_upload_bytes=MAX_UPLOAD_BYTES,
        max_audio_s=1_000,
        interactive_max_audio_s=5,
        stream_resume_s=0.5,
        heartbeat_s=0.2,
    )


@pytest.fixture(scope="session")
def session_api(session_settings: ApiSettings) -> Iterator[str]:
    """The base URL of the api that tests share."""
    # The server's threads outlive the output that a test captures.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with serve_api(session_settings) as base_url:
        yield base_url


@pytest.fixture
def api(session_api: str, redis_url: str) -> Iterator[httpx.Client]:
    """A client of an api whose record is empty."""
    with httpx.Client(base_url=session_api, timeout=30) as client:
        yield client


@pytest.fixture
def uploads(session_api: str, session_settings: ApiSettings) -> Path:
    """The folder of uploads of that api, empty at first."""
    for path in session_settings.uploads_dir.glob("*"):
        path.unlink()
    return session_settings.uploads_dir
