"""Schemathesis calls all that /openapi.json describes, and finds the server to be as it says."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY
from tests.support.hostile_source import HostileSource
from tests.support.server import RealServer

KEY = "schemathesis-key-0123456789"
SETTINGS = {
    "ALLOW_PRIVATE_ADDRESSES": "true",
    "LOG_LEVEL": "WARNING",
    "MAX_QUEUED_JOBS": "100000",
    "PREFER_WAIT_MAX_S": "1",
    "URL_FETCH_TIMEOUT_S": "2",
    "URL_INPUT": "true",
    "WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}

CONFIGURATION = """
hooks = "tests.support.schemathesis_hooks"
seed = 1
workers = 1
continue-on-failure = true
request-timeout = 60
warnings = false
cache.enabled = false

[generation]
deterministic = true
database = "none"

# DELETE may also cancel a job, which is there afterwards; `stays_deleted` looks at those that are gone.
[checks]
use_after_free.enabled = false

# Which values go together cannot be said in a schema, nor what a server elsewhere answers.
[[operations]]
include-method = "POST"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 404, 409, 410, 422]
"""

AUTHORIZATION = f"""
[auth.openapi.bearer]
bearer = "{KEY}"
"""

# A command to repeat a request holds the whole file.
_COMMAND = re.compile(r"^( *curl .{,500}).*$", re.MULTILINE)


@pytest.fixture(
    params=[
        pytest.param("", id="open"),
        pytest.param(f"ci={KEY}", id="with keys", marks=pytest.mark.full),
    ]
)
def server(request: pytest.FixtureRequest, make_server: Callable[..., RealServer]) -> RealServer:
    """A server with room for all that is sent to it."""
    return make_server(**SETTINGS, API_KEYS=request.param).start()


def call_all(server: RealServer, folder: Path, *, examples: int) -> Counter[str]:
    """Let Schemathesis call everything; how often each operation was answered with each status."""
    needs_key = server.client.get("/v1/models").status_code == 401
    configuration, answers = folder / "schemathesis.toml", folder / "answers.json"
    configuration.write_text(CONFIGURATION + AUTHORIZATION * needs_key)
    with HostileSource() as source:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", configuration, "run"),
                *(f"{server.base_url}/openapi.json", "--no-color", f"--max-examples={examples}"),
            ],
            cwd=REPOSITORY,
            env=os.environ | {"SOURCE_URL": source.url, "ANSWERS_FILE": str(answers)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, _COMMAND.sub(r"\1", run.stdout + run.stderr)
    return Counter(json.loads(answers.read_text()))


def check_reach(server: RealServer, answers: Counter[str]) -> None:
    """Check that it was no run of refusals: every operation has succeeded, and most found their job."""
    paths = server.client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in methods:
            label = f"{method.upper()} {path}"
            assert any(answers[f"{label} {status}"] for status in (200, 202, 204)), f"{label}: {answers}"
    assert not [label for label in answers if label.split()[-1].startswith("5")]


def test_every_answer_is_as_described(server: RealServer, tmp_path: Path) -> None:
    check_reach(server, call_all(server, tmp_path, examples=5))


@pytest.mark.full
@pytest.mark.timeout(1_200)
def test_every_answer_to_very_many_requests_is_as_described(server: RealServer, tmp_path: Path) -> None:
    check_reach(server, call_all(server, tmp_path, examples=300))
