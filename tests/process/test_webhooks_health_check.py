"""A container that sends webhooks is healthy while it looks for deliveries, and only then."""

import os
import socket
import subprocess
import sys

from shared.record.connection import connect
from shared.record.deliveries import ClaimTerms, claim_delivery


def run_health_check(redis_url: str) -> tuple[int, str]:
    """The exit code of the health check, and what it says."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "api.webhooks.health_check"],
        env={**os.environ, "REDIS_URL": redis_url},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


def look(redis_url: str, host: str) -> None:
    """Look for deliveries as a deliverer on `host` does."""
    connect(redis_url).run(claim_delivery("token", ClaimTerms(1.0, 1, f"{host}:1:abc")))


def test_a_deliverer_of_this_host_is_healthy(redis_url: str) -> None:
    look(redis_url, socket.gethostname())

    assert run_health_check(redis_url) == (0, "")


def test_one_of_another_host_is_not(redis_url: str) -> None:
    look(redis_url, f"{socket.gethostname()}2")

    assert run_health_check(redis_url) == (1, "nothing on this host has looked for deliveries of late\n")


def test_a_redis_that_cannot_be_asked_is_said_in_one_line() -> None:
    code, said = run_health_check("redis://127.0.0.1:1/0")

    assert (code, said.count("\n")) == (1, 1)
    assert "queue does not answer" in said
