"""A model hub that takes every connection and never answers, and a cache as the hub's client leaves it."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

COMMIT = "0" * 40


@contextmanager
def open_silent_hub() -> Iterator[str]:
    """Its address, for HF_ENDPOINT."""
    with socket.create_server(("127.0.0.1", 0)) as listening:  # the system itself takes the connections
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def fill_cache(cache: Path, model_id: str, files: Iterable[str]) -> Path:
    """The folder of `model_id` in the `cache` of the hub's client; its `files` are empty objects of JSON."""
    model = cache / f"models--{model_id.replace('/', '--')}"
    snapshot = model / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in files:
        (snapshot / name).write_text("{}")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    return snapshot
