"""A container's worker is healthy while it announces itself, and only then."""

import socket
import subprocess
import sys

import pytest

from shared.capabilities import ModelState, WorkerPresence
from shared.record.connection import connect
from shared.record.workers import announce_worker
from worker.engines.catalog import EngineName, describe_capabilities

NO_REDIS = "redis://127.0.0.1:1/0"


def run_health_check(redis_url: str) -> tuple[int, str]:
    """The exit code of the health check, and what it says."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "worker.health_check"],
        env={"REDIS_URL": redis_url},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


def announce(redis_url: str, host: str) -> None:
    """Say that a worker on `host` is alive."""
    capabilities = describe_capabilities(EngineName.SCRIPTED, whisper_model="", model_id="")
    presence = WorkerPresence(f"{host}:1:abc", capabilities, ModelState.ABSENT, "")
    connect(redis_url).run(announce_worker(presence))


def test_a_worker_of_this_host_is_healthy(redis_url: str) -> None:
    announce(redis_url, socket.gethostname())

    assert run_health_check(redis_url) == (0, "")


@pytest.mark.parametrize("host", ["", f"{socket.gethostname()}2"], ids=["none", "another host"])
def test_no_worker_of_this_host_is_not(redis_url: str, host: str) -> None:
    if host:
        announce(redis_url, host)

    assert run_health_check(redis_url) == (1, "no worker of this host is announced\n")


def test_a_redis_that_cannot_be_asked_is_said_in_one_line() -> None:
    code, said = run_health_check(NO_REDIS)

    assert code == 1
    assert "queue does not answer" in said
    assert said.count("\n") == 1
