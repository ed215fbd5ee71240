"""Tests in this folder run in .venv-qwen and get that mark; fixtures of servers with the engine `qwen3`.

They compare texts exactly, which only the CPU allows. So no GPU is visible to them.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.support.qwen_server import SETTINGS, open_qwen_server
from tests.support.server import RealServer

MakeServer = Callable[..., RealServer]

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks for devices; also for the servers made here


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test of this folder, so that none is left out for want of a mark."""
    if item.path.is_relative_to(Path(__file__).parent):
        item.add_marker(pytest.mark.qwen)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Have torch compute on one thread in this process, as in those of the servers made here."""
    torch.set_num_threads(1)


@pytest.fixture
def make_qwen_server(make_server: MakeServer) -> MakeServer:
    """Makes servers with the engine `qwen3` and the miniature, and the settings given."""
    return lambda **settings: make_server(**SETTINGS | settings)


@pytest.fixture(scope="module")
def qwen_server() -> Iterator[RealServer]:
    """One such server, for tests that leave it as they found it; it keeps its model."""
    with open_qwen_server(IDLE_TIMEOUT="0") as server:
        yield server
