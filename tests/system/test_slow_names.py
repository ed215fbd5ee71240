"""Host names whose look-up hangs, with whole processes: they hold up nothing, not even a stop."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.endpoints import submit
from tests.support.hostile_source import AUDIO, HostileSource
from tests.support.receiver import SECRET, Receiver
from tests.support.server import RealServer, wait_for

# Python imports it at each start. The look-ups last longer than the test.
_SLOW_RESOLVER = """
import socket, time

_look_up = socket.getaddrinfo

def _ask(host, *args, **kwargs):
    if str(host).endswith(".slow.example"):
        with open({asked!r}, "a") as asked:
            asked.write(host + "\\n")
        time.sleep(600)
    return _look_up(host, *args, **kwargs)

socket.getaddrinfo = _ask
"""


@pytest.mark.full
def test_names_that_hang_hold_up_no_url_no_webhook_and_no_stop(
    make_server: Callable[..., RealServer], tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    asked.touch()
    (tmp_path / "sitecustomize.py").write_text(_SLOW_RESOLVER.format(asked=str(asked)))
    server = make_server(
        URL_INPUT="true",
        ALLOW_PRIVATE_ADDRESSES="true",
        WEBHOOK_SECRET=SECRET,
        DRAIN_S="0",
        PYTHONPATH=os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])),
    ).start()
    with HostileSource() as source, Receiver() as receiver, ThreadPoolExecutor(12) as clients:
        for count in range(12):
            clients.submit(_ask_for_a_job, server, f"http://fetch{count}.slow.example/")
            submit(server, AUDIO, webhook_url=f"http://call{count}.slow.example/")
        wait_for(lambda: asked.read_text().count("\n") == 24, what="24 look-ups")

        by_name = {"url": f"{source.url}/sound.wav".replace("127.0.0.1", "localhost")}
        webhook = {"webhook_url": f"http://localhost:{receiver.port}/"}
        answer = server.client.post("/v1/jobs", data={**by_name, **webhook})
        assert answer.status_code == 202, answer.text
        receiver.wait_for()

        assert server.end(server.api, signal.SIGTERM) == -signal.SIGTERM  # within a minute


def _ask_for_a_job(server: RealServer, url: str) -> None:
    """Ask, and be left without an answer."""
    httpx.post(f"{server.base_url}/v1/jobs", data={"url": url}, timeout=120)
