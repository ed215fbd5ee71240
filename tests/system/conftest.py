"""OpenAI's clients, and servers that they talk to."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.openai_clients import (
    CLIENTS,
    ONE_OF_EACH_PACKAGE,
    Caller,
    ClientProcess,
    ClientProcesses,
    open_clients,
)
from tests.support.server import RealServer

TONES_S = 12
TONES = make_tones(TONES_S, seed=4)
TONES_TEXT = spoken_text(TONES)
"""What the scripted engine says to the file `tones`."""


@pytest.fixture(scope="session")
def client_processes() -> Iterator[ClientProcesses]:
    """All clients of OpenAI that the tests need, started once."""
    with open_clients() as processes:
        yield processes


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, client_processes: ClientProcesses) -> ClientProcess:
    """Each client in turn."""
    return client_processes.find(request.param)


@pytest.fixture(params=ONE_OF_EACH_PACKAGE)
def some_client(request: pytest.FixtureRequest, client_processes: ClientProcesses) -> ClientProcess:
    """One client of each package, for what is the same whether its calls block or not."""
    return client_processes.find(request.param)


@pytest.fixture(scope="session")
def make_lasting_server() -> Iterator[Callable[..., RealServer]]:
    """Makes servers with the settings given, for tests that leave them as they were; all end at last."""
    with ExitStack() as made:

        def make(**settings: str) -> RealServer:
            folder = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="qasr-")))
            return made.enter_context(RealServer(folder, **settings))

        yield make


@pytest.fixture(scope="session")
def openai_server(make_lasting_server: Callable[..., RealServer]) -> RealServer:
    """One server with the scripted engine, for all tests with OpenAI's clients that leave it as it was.

    It takes `tones` in three windows.
    """
    return make_lasting_server(WINDOW_S="4").start()


@pytest.fixture
def caller(client: ClientProcess, openai_server: RealServer) -> Caller:
    """Each client in turn, at that server."""
    return client.at(openai_server)


@pytest.fixture
def some_caller(some_client: ClientProcess, openai_server: RealServer) -> Caller:
    """One client of each package, at that server."""
    return some_client.at(openai_server)


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of TONES_S seconds, of which the scripted engine says TONES_TEXT."""
    path = tmp_path_factory.mktemp("tones") / "tones.wav"
    path.write_bytes(write_wav(TONES))
    return path


@pytest.fixture(scope="session")
def tones_text() -> str:
    """What the scripted engine says to `tones`."""
    return TONES_TEXT
