"""A job without a listener is cancelled by whichever process is left."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from shared.jobs import Endpoint, JobState
from shared.record.connection import connect
from shared.record.listeners import choose_lease_s
from tests.support.audio import make_tones, write_wav
from tests.support.record_readings import read_job
from tests.support.recorded_jobs import pass_lease_time
from tests.support.server import RealServer, wait_for

FILES = {"file": write_wav(make_tones(20))}
SYNC_LEASE_S = choose_lease_s(Endpoint.SYNC, resume_s=1)
SLOW = {"WINDOW_S": "2", "SCRIPTED_SPEED": "1", "STREAM_RESUME_S": "1"}


@contextmanager
def open_stream(server: RealServer, path: str) -> Iterator[str]:
    """The id of a running job whose client is connected within the block."""
    url = f"/v1/audio/transcriptions{path}"
    with server.client.stream("POST", url, files=FILES, data={"stream": "true"}) as answer:
        job_id = str(answer.headers["x-job-id"])
        wait_for(lambda: read_state(server, job_id) is JobState.RUNNING, what="the claim")
        yield job_id


def read_state(server: RealServer, job_id: str) -> JobState:
    job = connect(server.redis.url).run(read_job(job_id))
    assert job is not None
    return job.state


def wait_for_cancel(server: RealServer, job_id: str) -> None:
    wait_for(lambda: read_state(server, job_id).is_final, what="the end of the job")
    assert read_state(server, job_id) is JobState.CANCELLED


@pytest.mark.full
@pytest.mark.parametrize("path", ["", "/stream"])
def test_a_worker_cancels_the_job_of_an_api_that_was_killed_with_its_clients(
    make_server: Callable[..., RealServer], path: str
) -> None:
    server = make_server(**SLOW).start()
    with suppress(httpx.RemoteProtocolError), open_stream(server, path) as job_id:
        server.end(server.api, signal.SIGKILL)
    pass_lease_time(server.redis.url, SYNC_LEASE_S)
    wait_for_cancel(server, job_id)
