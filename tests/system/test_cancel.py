"""A cancel stops the work. The model stays loaded if the engine stops in time; a reload is logged."""

import json
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.audio import make_tones, write_wav
from tests.support.endpoints import read_success, submit
from tests.support.media_files import CLIPS
from tests.support.patience import PATIENT_WITH_ENGINES
from tests.support.sandboxed_decoders import find_decoder_of
from tests.support.server import RealServer, wait_for

SHORT = write_wav(make_tones(2))
# The pipe takes two seconds of it, so a decoder of this is at work for as long as the engine is.
LONG = (CLIPS / "speech.mp3").read_bytes() * 60


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    """Provide a server with a loaded model, which is unloaded only if needed."""
    folder = Path(tempfile.mkdtemp(prefix="qasr-"))
    with RealServer(folder, IDLE_TIMEOUT="0", WINDOW_S="1", **PATIENT_WITH_ENGINES) as server:
        read_success(server.start(), submit(server, SHORT))
        yield server
    shutil.rmtree(folder)


def model_of(server: RealServer) -> psutil.Process:
    model = server.model_process()
    assert model is not None
    return model


def cancel(server: RealServer, location: str) -> None:
    """Cancel a job, and check that it has ended."""
    assert server.client.delete(location).status_code == 202
    wait_for(lambda: server.client.get(location).json()["state"] == "cancelled", what="the cancel")


def submit_slow(server: RealServer, **script: object) -> str:
    """Submit a job that outlasts the test, and return its path once it is claimed."""
    location = submit(server, LONG, prompt=json.dumps({"speed": 10} | script))
    wait_for(lambda: server.client.get(location).json()["state"] == "running", what="the claim")
    return location


def read_log(server: RealServer, event: str) -> list[str]:
    """Return the log lines of an event."""
    return [line for line in server.log_text().splitlines() if f"event={event} " in line]


def test_a_cancel_right_after_the_claim_keeps_the_model(server: RealServer) -> None:
    model = model_of(server)
    for _ in range(3):
        cancel(server, submit_slow(server))
    read_success(server, submit(server, SHORT))
    assert model_of(server) == model


def test_a_cancel_keeps_the_model_while_the_engine_waits_for_a_slow_decoder(server: RealServer) -> None:
    model = model_of(server)
    location = submit_slow(server)
    decoder = wait_for(lambda: find_decoder_of(server.worker.pid), what="the decoder")
    decoder.send_signal(signal.SIGSTOP)
    cancel(server, location)
    decoder.send_signal(signal.SIGCONT)
    read_success(server, submit(server, SHORT))
    assert model_of(server) == model


def test_a_cancelled_job_keeps_its_finished_windows_and_says_how_far_it_came(server: RealServer) -> None:
    location = submit_slow(server)
    wait_for(lambda: server.client.get(location).json()["progress"]["processed_s"], what="a window")
    cancel(server, location)
    job = server.client.get(location).json()
    assert job["timings"]["inference_s"] > 0
    partial = server.client.get(f"{location}/transcript", params={"partial": "true"}).json()
    assert partial["text"]
    assert partial["complete"] is False


@pytest.mark.full
@pytest.mark.parametrize("behaviour", ["hang", "ignore_stop"])
def test_an_engine_that_ignores_a_stop_is_ended_and_its_reload_is_timed(
    make_server: Callable[..., RealServer], behaviour: str
) -> None:
    server = make_server(IDLE_TIMEOUT="0", WINDOW_S="1").start()
    read_success(server, submit(server, SHORT))
    model = model_of(server)
    location = submit_slow(server, misbehaviour=behaviour, speed=0.3)  # a step of three seconds
    cancel(server, location)
    read_success(server, submit(server, SHORT))
    assert model_of(server) != model
    (end,) = read_log(server, "model_process_ended")
    assert "reason=cancelled" in end
    assert f"job_id={location.rpartition('/')[2]}" in end
    assert read_number(end, "waited_ms") >= 500
    assert " succeeded in " not in server.log_text()
    _, load = read_log(server, "model_loaded")
    assert read_number(load, "loads") == 2
    assert read_number(load, "load_s") > 0


def read_number(line: str, field: str) -> float:
    """Return the number of a field in a log line."""
    found = re.search(rf"\b{field}=([0-9.]+)", line)
    assert found is not None, line
    return float(found[1])
