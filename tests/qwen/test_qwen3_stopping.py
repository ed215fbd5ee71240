"""A cancel, a disconnect or a timeout stops the generation, and the next job finds the model loaded."""

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import numpy as np
import psutil
import pytest

from tests.support.audio import write_floats
from tests.support.endpoints import URL, read_success, submit
from tests.support.patience import PATIENT_WITH_ENGINES
from tests.support.qwen_server import open_qwen_server
from tests.support.server import RealServer, wait_for
from tests.support.tiny_qwen3 import SAMPLES, read_file

# None of the tests lets its model come to the end of this.
LONG_S = 1_200
LONG = write_floats(np.tile(SAMPLES["en_fox"].read(), LONG_S // 5))

MakeServer = Callable[..., RealServer]


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    """A server whose model is loaded and never unloads when idle."""
    with open_qwen_server(IDLE_TIMEOUT="0", **PATIENT_WITH_ENGINES) as server:
        transcribe_short(server)
        yield server


def transcribe_short(server: RealServer) -> None:
    job = read_success(server, submit(server, read_file("en_hello")))
    assert job["transcript"]["text"] == SAMPLES["en_hello"].text
    assert job["attempt"] == 1


def model_of(server: RealServer) -> psutil.Process:
    model = server.model_process()
    assert model is not None
    return model


def read(server: RealServer, location: str) -> dict[str, Any]:
    job: dict[str, Any] = server.client.get(location).json()
    return job


def see_model_free_again(server: RealServer, model: psutil.Process) -> None:
    """See that the work was stopped, not ended, by a job that the same process does.

    An engine that did not stop within its grace would have lost its process.
    """
    transcribe_short(server)
    assert model_of(server) == model


def test_a_cancel_stops_the_generation_and_keeps_the_model(server: RealServer) -> None:
    model = model_of(server)
    location = submit(server, LONG)
    wait_for(lambda: read(server, location)["progress"]["processed_s"] > 0, what="the first window")

    assert server.client.delete(location).status_code == 202
    wait_for(lambda: read(server, location)["state"] == "cancelled", what="the cancel")

    assert read(server, location)["progress"]["processed_s"] < LONG_S / 2
    see_model_free_again(server, model)


def test_a_disconnect_stops_the_generation_that_the_client_waited_for(server: RealServer) -> None:
    model = model_of(server)
    claimed_before, cancelled_before = count_claimed(server), count_cancelled(server)
    request = server.client.build_request("POST", URL, files={"file": LONG})
    leaving = HTTPConnection("127.0.0.1", server.port)
    leaving.request("POST", URL, request.read(), dict(request.headers))
    wait_for(lambda: count_claimed(server) > claimed_before, what="the work")

    leaving.close()

    wait_for(lambda: count_cancelled(server) > cancelled_before, what="the cancel")
    see_model_free_again(server, model)


def count_claimed(server: RealServer) -> int:
    """How many jobs the worker has begun."""
    return sum("job_claimed" in line for line in server.log_text().splitlines())


def count_cancelled(server: RealServer) -> int:
    """How many jobs the worker has ended because they were cancelled."""
    return sum("job_ended" in line and "cancelled" in line for line in server.log_text().splitlines())


def test_a_request_out_of_time_is_answered_504_and_its_generation_stopped(
    make_qwen_server: MakeServer,
) -> None:
    server = make_qwen_server(IDLE_TIMEOUT="0", REQUEST_TIMEOUT="5", **PATIENT_WITH_ENGINES).start()
    transcribe_short(server)
    model = model_of(server)

    answer = server.client.post(URL, files={"file": LONG})

    assert answer.status_code == 504, answer.text
    assert answer.json()["error"]["code"] == "timeout"
    job = server.client.get(f"/v1/jobs/{answer.headers['x-job-id']}").json()
    assert job["timings"]["inference_s"] >= 5
    see_model_free_again(server, model)
