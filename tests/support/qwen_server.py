"""A whole server with the engine `qwen3` and its miniature."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import RealServer
from tests.support.tiny_qwen3 import TINY, WINDOW_S

SETTINGS = {
    "ENGINE": "qwen3",
    "MODEL_ID": str(TINY),
    "WINDOW_S": str(WINDOW_S),
    "DEVICE": "cpu",
    "CPU_THREADS": "1",  # more are no faster with so small a model, and wait for each other on a busy machine
}


@contextmanager
def open_qwen_server(**settings: str) -> Iterator[RealServer]:
    """A started server, in a folder with a short name for the sake of unix sockets; both go at the end."""
    folder = Path(tempfile.mkdtemp(prefix="qasr-"))
    with RealServer(folder, **SETTINGS | settings) as server:
        yield server.start()
    shutil.rmtree(folder)
