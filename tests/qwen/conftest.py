"""What is in this folder runs in .venv-qwen, and is marked so."""

from pathlib import Path

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test of this folder, so that none is left out for want of a mark."""
    if item.path.is_relative_to(Path(__file__).parent):
        item.add_marker(pytest.mark.qwen)
