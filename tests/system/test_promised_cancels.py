"""A DELETE answered 202 ends the job as cancelled and deletes its audio, whatever its worker does then."""

import json
import signal
import time
from collections.abc import Callable

import httpx
import pytest

from tests.support.audio import make_tones, write_wav
from tests.support.server import RealServer, wait_for

AUDIO = write_wav(make_tones(4))


def submit(server: RealServer, *, speed: float) -> httpx.Response:
    """Submit a job that is done at so many times the speed of its audio, always with the same key."""
    headers = {"Idempotency-Key": "k"}
    form = {"prompt": json.dumps({"speed": speed})}
    answer = server.client.post("/v1/jobs", files={"file": AUDIO}, data=form, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer


def state_of(server: RealServer, location: str) -> str:
    return str(server.client.get(location).json()["state"])


def wait_until_nothing_is_left(server: RealServer, location: str) -> None:
    """Return when the job is cancelled and its audio deleted."""
    wait_for(lambda: state_of(server, location) == "cancelled", what="the cancel")
    upload = server.folder / "uploads" / location.rpartition("/")[2]
    wait_for(lambda: not upload.exists(), what="the end of the audio")


@pytest.mark.full
def test_a_cancel_of_a_job_that_lost_its_worker_is_kept_without_any_worker(
    make_server: Callable[..., RealServer],
) -> None:
    server = make_server(LEASE_S="2").start()
    first = submit(server, speed=0.1)
    location = first.headers["location"]
    wait_for(lambda: state_of(server, location) == "running", what="the claim")
    server.end(server.worker, signal.SIGKILL)
    assert server.client.delete(location).status_code == 202
    wait_until_nothing_is_left(server, location)
    server.worker = server.start_worker()
    server.wait_until_ready()
    again = submit(server, speed=0.1)
    assert "idempotent-replayed" not in again.headers
    assert again.json()["id"] != first.json()["id"]


@pytest.mark.full
def test_a_cancel_in_the_last_moments_of_a_job_is_kept(make_server: Callable[..., RealServer]) -> None:
    server = make_server(IDLE_TIMEOUT="0").start()
    for step in range(12):
        cancel_after(server, 0.14 + step * 0.01)


def cancel_after(server: RealServer, wait_s: float) -> None:
    """Cancel a job of 0.2 s so long after its claim; if it was not final, nothing is left."""
    location = submit(server, speed=20).headers["location"]
    wait_for(lambda: state_of(server, location) != "queued", what="the claim")
    time.sleep(wait_s)
    if server.client.delete(location).status_code == 202:
        wait_until_nothing_is_left(server, location)
