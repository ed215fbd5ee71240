"""Measured servers run with the packages that `make run` installs."""

import os
import re
import subprocess
import sys

from scripts.purposes import LOCKS_DIR
from tests.bench.server import AS_INSTALLED


def test_rich_is_hidden_from_servers_and_not_installed_by_make_run() -> None:
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", "import structlog, sys; print('rich.console' in sys.modules)"],
        env={**os.environ, **AS_INSTALLED},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert loaded.strip() == "False"
    assert re.search(r"^rich==", (LOCKS_DIR / "base.txt").read_text(), re.MULTILINE) is None
