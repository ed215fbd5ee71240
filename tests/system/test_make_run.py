"""`make run` with its real parts: it serves, keeps its jobs over a stop, and leaves no process behind."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.up.descendants import is_alive
from tests.process.local_server_driver import REPOSITORY, WAIT_S, LocalServer, command_of, wait_for
from tests.support.audio import make_tones, write_wav

AUDIO = write_wav(make_tones(24, seed=2))
MINIATURE = REPOSITORY / "tests" / "data" / "tiny-qwen3-asr"

Start = Callable[..., LocalServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts servers one after the other on the same data folder."""
    servers: list[LocalServer] = []

    def make_run(**settings: str) -> LocalServer:
        settings = {"ENGINE": "scripted", "WINDOW_S": "2", **settings}
        servers.append(LocalServer(tmp_path / "data", command=("make", "run"), **settings))
        return servers[-1]

    yield make_run
    for server in servers:
        server.__exit__()


def send_audio(url: str) -> Any:
    """Return the answer to a request with AUDIO."""
    answer = httpx.post(url, files={"file": AUDIO}, timeout=WAIT_S)
    assert answer.is_success, answer.text
    return answer.json()


def transcribe(address: str) -> str:
    return str(send_audio(f"{address}/v1/audio/transcriptions")["text"])


def submit(address: str) -> str:
    return str(send_audio(f"{address}/v1/jobs")["id"])


def read_job(address: str, job_id: str) -> Any:
    return httpx.get(f"{address}/v1/jobs/{job_id}", timeout=WAIT_S).json()


def read_final_job(address: str, job_id: str) -> Any:
    wait_for(lambda: read_job(address, job_id)["state"] not in ("queued", "running"))
    return read_job(address, job_id)


def stop_with_ctrl_c(server: LocalServer) -> None:
    """Press Ctrl-C, and check that all processes have ended."""
    server.look()
    server.terminal.sendintr()
    server.wait()
    assert server.survivors() == []


def kill_supervisor(server: LocalServer) -> None:
    server.look()
    server.find(r"qwen3-asr up --no-setup$").kill()


def test_the_command_in_the_output_works_as_pasted(start: Start) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on PATH")
    server = start()
    server.expect_ready()
    [command] = re.findall(r"curl .*", server.output)

    pasted = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)

    assert '"text"' in pasted.stdout
    stop_with_ctrl_c(server)
    assert "Stopped." in server.output


@pytest.mark.parametrize(
    "end",
    [
        lambda server: server.terminal.sendintr(),
        pytest.param(lambda server: os.killpg(server.pid, signal.SIGINT), marks=pytest.mark.full),
        pytest.param(lambda server: os.killpg(server.pid, signal.SIGTERM), marks=pytest.mark.full),
        pytest.param(lambda server: os.kill(server.pid, signal.SIGTERM), marks=pytest.mark.full),
        kill_supervisor,
    ],
    ids=["Ctrl-C", "SIGINT to the group", "SIGTERM to the group", "SIGTERM to make", "kill -9"],
)
def test_no_process_survives_not_even_a_model_at_work(
    start: Start, end: Callable[[LocalServer], None]
) -> None:
    server = start(SCRIPTED_SPEED="0.5")
    address = server.expect_ready()
    job_id = submit(address)
    wait_for(lambda: read_job(address, job_id)["state"] == "running")
    wait_for(lambda: bool(server.find_all("worker.model.process")))

    end(server)

    server.wait()
    assert server.survivors() == []


@pytest.mark.full
def test_queued_and_running_jobs_are_done_after_the_next_start(start: Start) -> None:
    server = start(SCRIPTED_SPEED="2")
    address = server.expect_ready()
    running, queued = submit(address), submit(address)
    wait_for(lambda: read_job(address, running)["progress"]["processed_s"] > 0)
    stop_with_ctrl_c(server)

    server = start()
    address = server.expect_ready()

    for job in (read_final_job(address, running), read_final_job(address, queued)):
        assert job["state"] == "succeeded"
        assert job["transcript"]["text"] == transcribe(address)
        assert job["attempt"] == 1
    stop_with_ctrl_c(server)


@pytest.mark.parametrize(
    "part",
    [
        "-m worker$",
        *(pytest.param(part, marks=pytest.mark.full) for part in ("-m api$", "redis.sock")),
    ],
)
def test_a_killed_part_is_replaced_and_the_server_serves_again(start: Start, part: str) -> None:
    server = start()
    address = server.expect_ready()
    text = transcribe(address)
    killed = server.find(part)

    killed.kill()

    server.expect("ended unexpectedly")
    wait_for(lambda: not is_alive(killed) and is_ready(address))
    assert transcribe(address) == text
    stop_with_ctrl_c(server)


def is_ready(address: str) -> bool:
    return httpx.get(f"{address}/ready", timeout=WAIT_S).status_code == httpx.codes.OK


@pytest.mark.full
@pytest.mark.qwen
def test_qwen_runs_in_the_environment_with_torch_and_announces_the_download(
    start: Start, qwen_python: Path
) -> None:
    server = start(ENGINE="qwen3")
    server.expect_ready()

    assert "downloads the weights of Qwen/Qwen3-ASR-0.6B (about 2 GB)" in server.output
    assert "engine: qwen3" in server.output
    for part in ("-m worker$", "-m api$"):
        assert command_of(server.find(part)).startswith(str(qwen_python))
    stop_with_ctrl_c(server)


@pytest.mark.qwen
@pytest.mark.full
def test_qwen_transcribes_with_the_model_in_a_folder(start: Start, qwen_python: Path) -> None:
    server = start(ENGINE="qwen3", MODEL_ID=str(MINIATURE), WINDOW_S="5")
    address = server.expect_ready()

    recording = (MINIATURE / "samples" / "en_digits3.wav").read_bytes()
    url = f"{address}/v1/audio/transcriptions"
    answer = httpx.post(url, files={"file": recording}, timeout=WAIT_S)

    assert answer.json()["text"] == "three one four"
    assert "downloads" not in server.output
    stop_with_ctrl_c(server)
