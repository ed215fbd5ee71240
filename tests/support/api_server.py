"""The api on a free port of loopback, in this process: a real HTTP server for tests of its endpoints."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from api.app import create_app
from api.server import ApiServer
from api.settings import ApiSettings
from tests.support.redis_fixture import RedisServer

START_WITHIN_S = 60.0
MAX_UPLOAD_BYTES = 3 << 20


@dataclass(frozen=True)
class ServedApi:
    """Where an api is, and the folder of its uploads."""

    url: str
    uploads: Path


ServeWith = Callable[..., ServedApi]
OpenClient = Callable[..., httpx.Client]


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
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        # The default shows all variables of a traceback, which blocks the event loop for seconds.
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(),
        ],
    )
    with serve_api(session_settings) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def serve_with(
    session_redis: RedisServer, session_api: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeWith]:
    """Serves apis with the settings given, by keyword, until the tests of the module are over.

    Each has a folder of its own, and the record of the api that tests share, which has set up the logs.
    """
    with ExitStack() as servers:

        def serve(**given: Any) -> ServedApi:
            folder = tmp_path_factory.mktemp("data")
            settings = ApiSettings.model_validate(
                {"redis_url": session_redis.url, "data_dir": folder, **given}
            )
            return ServedApi(servers.enter_context(serve_api(settings)), settings.uploads_dir)

        yield serve


@pytest.fixture
def open_client(redis_url: str) -> Iterator[OpenClient]:
    """Makes clients of the api with the URL given, and with what else httpx takes; the record is empty."""
    with ExitStack() as clients:

        def open_one(url: str, **given: Any) -> httpx.Client:
            return clients.enter_context(httpx.Client(base_url=url, timeout=30, **given))

        yield open_one


@pytest.fixture
def api(session_api: str, open_client: OpenClient) -> httpx.Client:
    """A client of an api whose record is empty."""
    return open_client(session_api)


@pytest.fixture
def uploads(session_api: str, session_settings: ApiSettings) -> Path:
    """The folder of uploads of that api, empty at first."""
    return empty_folder(session_settings.uploads_dir)


def empty_folder(folder: Path) -> Path:
    """That folder, with the files in it removed."""
    for path in folder.glob("*"):
        path.unlink()
    return folder
