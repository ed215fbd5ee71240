"""OpenAI's own clients, each in a process of its own that makes calls when told."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scripts.purposes import PURPOSES, REPOSITORY
from scripts.setup_node import FOLDER as NODE_FOLDER
from scripts.setup_node import STAMP as NODE_STAMP
from tests.support.server import RealServer

DRIVERS = REPOSITORY / "tests" / "clients"
CLIENTS = ("python", "python-async", "python-1", "python-1-async", "node")
ONE_OF_EACH_PACKAGE = ("python", "python-1-async", "node")

Json = dict[str, Any]


class SentFile(NamedTuple):
    """A file, and the way in which the user of a client hands it over; None for the usual one."""

    path: Path
    way: str | None = None
    name: str | None = None
    mime_type: str | None = None


@dataclass(frozen=True, slots=True)
class ClientError:
    """What a client raised; whatever its language, `status` is the number and `bases` names all classes."""

    name: str
    bases: tuple[str, ...]
    status: int | None
    code: str | None
    param: str | None
    type: str | None
    message: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ClientAnswer:
    """What a client gave back to its user: a text, an object as JSON, the events of a stream, or an error.

    Where there was an error `events` are those that came before.
    """

    returned: Any = None
    type: str = ""
    events: Sequence[Json] = ()
    event_types: Sequence[str] = ()
    error: ClientError | None = None
    request_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None

    @property
    def value(self) -> Any:
        """The text or the object; fails the test where there is none."""
        assert self.error is None, self.error
        assert not self.events, "this is a stream"
        return self.returned


class ClientProcess:
    """One client; calls may come from several threads, and are made one after the other."""

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name = name
        self.is_node = name == "node"
        self.usual_way = "stream" if self.is_node else "path"
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.greeting = self._read()

    def at(self, server: RealServer, **options: object) -> "Caller":
        """This client, created for `server` with these options (`api_key`, `timeout` in s, `max_retries`)."""
        return Caller(self, {"base_url": f"{server.base_url}/v1", "api_key": "none", **options})

    def obey(self, command: Json) -> ClientAnswer:
        """Make one call."""
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return read_answer(self._read())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> Json:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the driver of {self.name} has ended"
        read: Json = json.loads(line)
        return read


@dataclass(frozen=True, slots=True)
class Caller:
    """A client with its options, whose methods are the calls that its users make."""

    process: ClientProcess
    options: Json
    extras: Json = field(default_factory=dict)

    def with_extras(self, **extras: object) -> "Caller":
        """The same, told to do more.

        It sends `headers`, or fields of the `body` that the client knows nothing of; gets the whole response
        if it is `raw`; and leaves a stream when it has had as many events as `leave_after`.
        """
        return Caller(self.process, self.options, {**self.extras, **extras})

    def transcribe(self, file: Path | SentFile, **parameters: object) -> ClientAnswer:
        """`audio.transcriptions.create`, by default with the model `whisper-1`."""
        sent = file if isinstance(file, SentFile) else SentFile(file)
        usual: Json = {"path": str(sent.path), "way": sent.way or self.process.usual_way}
        described = {key: value for key, value in sent._asdict().items() if value is not None} | usual
        return self._call("transcribe", {"model": "whisper-1", **parameters}, file=described)

    def list_models(self) -> ClientAnswer:
        """`models.list`, all pages of it."""
        return self._call("models.list", {})

    def retrieve_model(self, model: str) -> ClientAnswer:
        """`models.retrieve`."""
        return self._call("models.retrieve", {"model": model})

    def _call(self, call: str, parameters: Json, **command: object) -> ClientAnswer:
        return self.process.obey(
            {"client": self.options, "call": call, "parameters": parameters, **self.extras, **command}
        )


def read_answer(line: Json) -> ClientAnswer:
    """The answer that a driver wrote."""
    error = line.get("error")
    return ClientAnswer(
        returned=line.get("value"),
        type=line.get("type", ""),
        events=tuple(event["value"] for event in line.get("events", ())),
        event_types=tuple(event["type"] for event in line.get("events", ())),
        error=_read_error(error) if error else None,
        request_id=line.get("request_id"),
        headers=line.get("headers", {}),
        status=line.get("status"),
    )


def _read_error(told: Json) -> ClientError:
    names = ("status", "code", "param", "type", "message", "request_id")
    return ClientError(told["class"], tuple(told["bases"]), **{name: told[name] for name in names})


def start_client(name: str) -> ClientProcess:
    """Start the client of this name; skips the test where it is not set up."""
    if name == "node":
        return ClientProcess(name, [find_node(), str(DRIVERS / "node_driver.mjs")], NODE_FOLDER)
    python = find_python("openai-1" if name.startswith("python-1") else "openai-newest")
    kind = "async" if name.endswith("async") else "sync"
    return ClientProcess(name, [python, str(DRIVERS / "python_driver.py"), kind], REPOSITORY)


def find_python(purpose_name: str) -> str:
    """The Python that has this version of the client; skips the test where it is not set up."""
    purpose = PURPOSES[purpose_name]
    venv = REPOSITORY / purpose.venv
    if not (venv / f"{purpose.name}.stamp").exists():
        pytest.skip(f"{purpose.venv} is not set up: `make test` does it")
    return str(venv / "bin" / "python")


def find_node() -> str:
    """The program that the client for Node runs in; skips the test where it is not set up."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, and the tests of OpenAI's client for Node need it")
    if not NODE_STAMP.exists():
        pytest.skip(f"{NODE_FOLDER.name} is not set up: `make test` does it where node and npm are")
    return node


class ClientProcesses:
    """The clients that have been asked for, each started once."""

    def __init__(self) -> None:
        self._processes: dict[str, ClientProcess] = {}

    def find(self, name: str) -> ClientProcess:
        """The client of this name."""
        if name not in self._processes:
            self._processes[name] = start_client(name)
        return self._processes[name]

    def end(self) -> None:
        """End all that were started."""
        for process in self._processes.values():
            process.end()


@contextmanager
def open_clients() -> Iterator[ClientProcesses]:
    """Clients that end with the block."""
    processes = ClientProcesses()
    try:
        yield processes
    finally:
        processes.end()
