"""A client that left is not forgotten, whatever process is killed then: its job is cancelled all the same."""

import contextlib
import signal
from collections.abc import Callable, Iterator

import pytest

from shared.jobs import JobState
from shared.record.connection import connect
from shared.record.transitions import read_job
from tests.support.audio import make_tones, write_wav
from tests.support.server import RealServer, wait_for

FILES = {"file": write_wav(make_tones(20))}
SLOW = {"LEASE_S": "2", "WINDOW_S": "2", "SCRIPTED_SPEED": "1", "STREAM_RESUME_S": "1"}


@contextlib.contextmanager
def left_stream(server: RealServer, path: str, **fields: str) -> Iterator[str]:
    """The id of a running job whose client leaves with the end of the block."""
    url = f"/v1/audio/transcriptions{path}"
    with server.client.stream("POST", url, files=FILES, data=fields) as answer:
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
def test_a_worker_cancels_a_stream_whose_api_was_killed_after_its_client_had_left(
    make_server: Callable[..., RealServer],
) -> None:
    server = make_server(**SLOW).start()
    with left_stream(server, "/stream") as job_id:
        pass
    wait_for(lambda: "job_abandoned" in server.log_text(), what="the note that the client has left")
    server.end(server.api, signal.SIGKILL)
    wait_for_cancel(server, job_id)


@pytest.mark.full
def test_a_client_that_leaves_while_redis_is_away_stops_the_worker_when_it_is_back(
    make_server: Callable[..., RealServer],
) -> None:
    server = make_server(**SLOW).start()
    with left_stream(server, "", stream="true") as job_id:
        server.redis.kill()
    wait_for(lambda: "job_not_cancelled_yet" in server.log_text(), what="the attempt to cancel")
    server.redis.start()
    wait_for_cancel(server, job_id)
