"""Whole servers for the tests of both environments."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import RealServer


@pytest.fixture
def make_server() -> Iterator[Callable[..., RealServer]]:
    """Makes servers with the settings given, in folders with short names for the sake of unix sockets."""
    servers: list[RealServer] = []

    def make(**settings: str) -> RealServer:
        server = RealServer(Path(tempfile.mkdtemp(prefix="qasr-")), **settings)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.__exit__(None, None, None)
        shutil.rmtree(server.folder)


@pytest.fixture(scope="module")
def scripted_server() -> Iterator[RealServer]:
    """One server with the scripted engine, for tests that leave it as they found it."""
    folder = Path(tempfile.mkdtemp(prefix="qasr-"))
    with RealServer(folder) as server:
        yield server.start()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def whisper_server() -> Iterator[RealServer]:
    """One server with the CPU engine, for all tests that send it speech."""
    folder = Path(tempfile.mkdtemp(prefix="qasr-"))
    with RealServer(folder, ENGINE="whisper") as server:
        yield server.start()
    shutil.rmtree(folder)
