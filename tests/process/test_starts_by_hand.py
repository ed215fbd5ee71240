"""An api, worker or health check that is started by hand, without `make run`."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support.server import RealServer, wait_for

NO_REDIS = "redis://127.0.0.1:1/0"


def start_and_fail(module: str, data_dir: Path, setting: str) -> tuple[int, str]:
    """Return the exit code of a start that must fail, and its output."""
    name, value = setting.split("=", 1)
    ended = subprocess.run(
        [sys.executable, "-P", "-m", module],
        env=os.environ | {"REDIS_URL": NO_REDIS, "DATA_DIR": str(data_dir), name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout


@pytest.mark.parametrize("module", ["api", "worker", "worker.health_check"])
@pytest.mark.parametrize("setting", ["LOG_LEVEL=verbose", "REDIS_URL=redis://host:port", "MAX_AUDIO_S=ten"])
def test_a_wrong_setting_is_one_line(module: str, setting: str, tmp_path: Path) -> None:
    code, output = start_and_fail(module, tmp_path, setting)

    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(f"{setting}: ")


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        ("api", "PORT=80000"),
        ("api", "LISTEN_FD=99"),
        ("api", "CORS_ORIGINS=a"),
        ("api", "DATA_DIR=/dev/null/data"),
        ("worker", "ENGINE=wisper"),
        ("worker", "DEVICE=tpu"),
        ("worker", "WHISPER_MODEL=/nope"),
        ("worker", "STALL_TIMEOUT_S=long"),
    ],
)
def test_so_is_a_wrong_setting_of_one_part(module: str, setting: str, tmp_path: Path) -> None:
    code, output = start_and_fail(module, tmp_path, setting)

    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(setting)


class EmptyHub(BaseHTTPRequestHandler):
    """A model hub that has no model."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def empty_hub() -> Iterator[str]:
    """The address of a hub that has no model."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyHub) as hub:
        threading.Thread(target=hub.serve_forever).start()
        yield f"http://127.0.0.1:{hub.server_port}"
        hub.shutdown()


@pytest.mark.parametrize("name", ["bsae", "nobody/no-such-model"])
def test_a_model_that_does_not_exist_is_reported_before_a_request_comes(
    name: str, empty_hub: str, tmp_path: Path
) -> None:
    with RealServer(tmp_path, ENGINE="whisper", WHISPER_MODEL=name, HF_ENDPOINT=empty_hub) as server:
        server.redis.start()
        server.start_api()
        server.start_worker(MODLE_ID="Qwen/Qwen3-ASR-1.7B")

        wait_for(lambda: "model_missing" in server.log_text(), what="the check of the model")
        error = wait_for(lambda: read_unavailable(server))

        assert f"The Whisper model '{name}' is neither a folder here nor available" in error["message"]
        health = server.client.get("/health").json()
        assert (health["status"], health["workers"]) == ("degraded", ["idle"])
        assert "event=setting_unknown setting=MODLE_ID nearest=MODEL_ID" in server.log_text()


def test_a_hub_that_does_not_answer_leaves_the_server_ready(tmp_path: Path) -> None:
    hub = "http://127.0.0.1:1"
    with RealServer(tmp_path, ENGINE="whisper", WHISPER_MODEL="some/model", HF_ENDPOINT=hub) as server:
        server.start()

        wait_for(lambda: "model_unchecked" in server.log_text(), what="the check of the model")

        assert server.client.get("/ready").status_code == httpx.codes.OK


def read_unavailable(server: RealServer) -> dict[str, str] | None:
    """Return the error of `/ready` about the model, if there is one."""
    try:
        error: dict[str, str] = server.client.get("/ready").json().get("error", {})
    except httpx.TransportError:
        return None
    return error if error.get("code") == "model_unavailable" else None
