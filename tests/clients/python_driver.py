"""Makes calls with the `openai` package on command: one command in a line of JSON, one answer in another.

It runs in an environment that has nothing but `openai`, and stands for its users: what it answers is what the
client gave back or raised. `python python_driver.py sync|async`; the first line says which version it is.
"""

import asyncio
import functools
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai

Json = dict[str, Any]


@functools.cache
def open_client(kind: type, options: str) -> Any:
    """The client with these options, given as JSON."""
    return kind(**json.loads(options))


def open_file(described: Json, opened: ExitStack) -> Any:
    """The file as the command wants it handed over."""
    path = Path(described["path"])
    name, mime_type = described.get("name", path.name), described.get("mime_type", "audio/wav")
    match described["way"]:
        case "path":
            return path
        case "open":
            return opened.enter_context(path.open("rb"))
        case "named":
            return (name, opened.enter_context(path.open("rb")))
        case "tuple":
            return (name, path.read_bytes(), mime_type)
        case "bytes":
            return path.read_bytes()
    raise ValueError(described["way"])


def find_method(client: Any, command: Json) -> Any:
    """The method that the command names."""
    resource = {
        "transcribe": client.audio.transcriptions,
        "models.list": client.models,
        "models.retrieve": client.models,
    }[command["call"]]
    if command.get("raw"):
        resource = resource.with_raw_response
    name = {"transcribe": "create", "models.list": "list", "models.retrieve": "retrieve"}[command["call"]]
    return getattr(resource, name)


def describe(returned: Any) -> Json:
    """What a call returned, all but a stream."""
    if isinstance(returned, str):
        return {"kind": "text", "type": "str", "value": returned}
    described = {"kind": "object", "type": type(returned).__name__, "value": returned.model_dump()}
    return described | {"request_id": getattr(returned, "_request_id", None)}


def describe_response(response: Any) -> Json:
    """What a call returned that was asked for the whole response."""
    answer = {"headers": dict(response.headers.items()), "status": response.http_response.status_code}
    body = response.http_response.text
    return describe(response.parse()) | answer | {"body": body}


def describe_event(event: Any) -> Json:
    """One event of a stream, and the class that the client took it for."""
    return {"type": type(event).__name__, "value": event.model_dump(exclude_unset=True)}


def describe_error(error: Exception) -> Json:
    """What a call raised."""
    names = ("status_code", "code", "param", "type", "message", "request_id", "body")
    told = {name: getattr(error, name, None) for name in names}
    told["status"] = told.pop("status_code")
    return {"class": type(error).__name__, "bases": [base.__name__ for base in type(error).__mro__], **told}


def collect_stream(stream: Iterator[Any], events: list[Json], leave_after: int | None) -> None:
    """Read a stream into `events`, to its end or until there are as many as `leave_after` says."""
    for event in stream:
        events.append(describe_event(event))
        if len(events) == leave_after:
            return


async def collect_async_stream(
    stream: AsyncIterator[Any], events: list[Json], leave_after: int | None
) -> None:
    """As `collect_stream`."""
    async for event in stream:
        events.append(describe_event(event))
        if len(events) == leave_after:
            return


class SyncCaller:
    """Makes calls with the blocking client."""

    def call(self, command: Json, parameters: Json, events: list[Json]) -> Any:
        """What the client returned; of a stream its events, in `events`."""
        client = open_client(openai.OpenAI, json.dumps(command["client"]))
        returned = find_method(client, command)(**parameters)
        if command["call"] == "models.list" and not command.get("raw"):
            return {"data": [model.model_dump() for model in returned]}
        if parameters.get("stream"):
            with returned:
                collect_stream(returned, events, command.get("leave_after"))
        return returned


class AsyncCaller:
    """Makes calls with the asynchronous client."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def call(self, command: Json, parameters: Json, events: list[Json]) -> Any:
        """What the client returned; of a stream its events, in `events`."""
        return self._runner.run(self._call(command, parameters, events))

    async def _call(self, command: Json, parameters: Json, events: list[Json]) -> Any:
        client = open_client(openai.AsyncOpenAI, json.dumps(command["client"]))
        returned = find_method(client, command)(**parameters)
        if command["call"] == "models.list" and not command.get("raw"):
            return {"data": [model.model_dump() async for model in returned]}
        returned = await returned
        if parameters.get("stream"):
            async with returned:
                await collect_async_stream(returned, events, command.get("leave_after"))
        return returned


def answer(caller: SyncCaller | AsyncCaller, command: Json) -> Json:
    """Obey one command."""
    events: list[Json] = []
    parameters = dict(command["parameters"])
    parameters |= {f"extra_{name}": command[name] for name in ("headers", "body") if command.get(name)}
    try:
        with ExitStack() as opened:
            if "file" in command:
                parameters["file"] = open_file(command["file"], opened)
            returned = caller.call(command, parameters, events)
            if parameters.get("stream"):
                return {"kind": "events", "events": events}
            if isinstance(returned, dict):
                return {"kind": "object", "type": "list", "value": returned}
            return describe_response(returned) if command.get("raw") else describe(returned)
    except Exception as error:  # noqa: BLE001 - the border: whatever it is, it is the answer
        return {"kind": "error", "events": events, "error": describe_error(error)}


def write(line: Json) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(line, default=repr) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Obey commands until there are no more."""
    caller = AsyncCaller() if sys.argv[1] == "async" else SyncCaller()
    write({"name": "openai", "language": "python", "version": openai.__version__})
    for line in sys.stdin:
        write(answer(caller, json.loads(line)))


if __name__ == "__main__":
    main()
