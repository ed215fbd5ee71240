"""Jobs share the batches of one worker, and each of them has its own text, cancel and faults."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import redis

from shared.record.keys import KEY_PREFIX, Key
from tests.chaos.injection import find_model_processes
from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.server import RealServer, wait_for

ROWS = 8
CLIP_S = 4
MakeServer = Callable[..., RealServer]
Script = Mapping[str, object]


def start_server(make_server: MakeServer, *, joins_rows: bool) -> RealServer:
    """Return a server whose engine takes eight windows of four seconds at once, with a loaded model."""
    settings = {"BATCH_WINDOWS": str(ROWS), "WINDOW_S": str(CLIP_S), "LEASE_S": "2"}
    settings["SCRIPTED_JOINS_ROWS"] = str(joins_rows)
    server = make_server(SCRIPTED_SPEED="8", **settings).start()
    wait_until_final(server, submit(server, make_clip(0)))
    return server


@pytest.fixture
def server(make_server: MakeServer) -> RealServer:
    """Provide a server with fixed batches."""
    return start_server(make_server, joins_rows=False)


@pytest.fixture
def joining_server(make_server: MakeServer) -> RealServer:
    """Provide a server whose rows join a running batch."""
    return start_server(make_server, joins_rows=True)


@pytest.fixture(params=["server", "joining_server"])
def any_server(request: pytest.FixtureRequest) -> RealServer:
    """Provide a server of each kind."""
    server: RealServer = request.getfixturevalue(request.param)
    return server


def make_clip(seed: int, *, seconds: float = CLIP_S) -> npt.NDArray[np.int16]:
    return make_tones(seconds, seed=seed)


def submit(server: RealServer, clip: npt.NDArray[np.int16], **script: object) -> str:
    """Submit an interactive job with a script for the engine, and return its id."""
    form = {"priority": "interactive"} | ({"prompt": json.dumps(script)} if script else {})
    answer = server.client.post("/v1/jobs", files={"file": write_wav(clip)}, data=form)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def read(server: RealServer, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = server.client.get(f"/v1/jobs/{job_id}").json()
    return job


def wait_until_final(server: RealServer, job_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = read(server, job_id)
        return job if job["state"] in ("succeeded", "failed", "cancelled") else None

    return wait_for(look, what=f"the end of {job_id}")


def read_events(server: RealServer, job_id: str) -> list[str]:
    log = server.client.get(f"/v1/jobs/{job_id}/events").text
    return [line.removeprefix("event: ") for line in log.splitlines() if line.startswith("event: ")]


def submit_group(server: RealServer, scripts: Sequence[Script]) -> list[str]:
    """Submit clips while the worker is busy with another job, so that it claims them together."""
    blocker = submit(server, make_clip(99), speed=2)
    wait_for(lambda: read(server, blocker)["state"] == "running", what="the claim")
    return [submit(server, make_clip(seed), **script) for seed, script in enumerate(scripts)]


def read_batches(server: RealServer) -> list[str]:
    """Return the log lines of batches with rows of more than one job."""
    lines = [line for line in server.log_text().splitlines() if "event=batch_decoded " in line]
    return [line for line in lines if " jobs=1 " not in line]


def test_clips_sent_at_once_share_a_batch_and_have_their_own_texts(server: RealServer) -> None:
    jobs = submit_group(server, [{}] * ROWS)
    ended = [wait_until_final(server, job) for job in jobs]
    texts = [job["transcript"]["text"] for job in ended]
    assert texts == [spoken_text(make_clip(seed)) for seed in range(ROWS)]
    assert {job["attempt"] for job in ended} == {1}
    wait_for(lambda: any(f" jobs={ROWS} " in line for line in read_batches(server)), what="the batch of all")


def test_the_speed_is_measured_by_the_rows_of_a_batch(server: RealServer) -> None:
    for job in submit_group(server, [{}] * ROWS):
        wait_until_final(server, job)
    with redis.Redis.from_url(server.redis.url) as connection:
        fields = connection.hkeys(f"{KEY_PREFIX}{Key.SPEED.value}")
    rows = {int(field.partition(b":")[2]) for field in fields}
    assert min(rows) == 1
    assert max(rows) > 1


def test_health_counts_the_rows_of_the_present_batch_and_none_after_it(any_server: RealServer) -> None:
    def count_rows() -> int:
        return int(any_server.client.get("/health").json()["rows_in_use"])

    jobs = [submit(any_server, make_clip(seed, seconds=3 * CLIP_S), speed=1) for seed in range(2)]
    wait_for(lambda: read(any_server, jobs[0])["state"] == "running", what="the claim")
    wait_for(lambda: count_rows() > 1, what="the rows of a batch that is not done")
    assert read(any_server, jobs[0])["state"] == "running"
    for job in jobs:
        any_server.client.delete(f"/v1/jobs/{job}")
        assert wait_until_final(any_server, job)["state"] == "cancelled"
    wait_for(lambda: count_rows() == 0, what="no row in use")


def test_a_job_that_is_cancelled_or_fails_leaves_its_group_alone(any_server: RealServer) -> None:
    server = any_server
    slow = {"speed": 1}
    scripts: list[Script] = [slow, slow, {"misbehaviour": "raise"}, slow]
    jobs = submit_group(server, scripts)
    wait_for(lambda: read(server, jobs[1])["state"] == "running", what="the claim")
    assert server.client.delete(f"/v1/jobs/{jobs[1]}").status_code == 202
    first, cancelled, failed, last = (wait_until_final(server, job) for job in jobs)
    assert cancelled["state"] == "cancelled"
    assert (failed["state"], failed["error"]["code"]) == ("failed", "engine_error")
    assert [first["transcript"]["text"], last["transcript"]["text"]] == [
        spoken_text(make_clip(seed)) for seed in (0, 3)
    ]
    wait_for(lambda: read_batches(server), what="a batch of several jobs")


@pytest.mark.full  # the worker waits for a minute after so many crashes
def test_a_job_that_kills_the_model_process_is_found_and_no_other_is_blamed(any_server: RealServer) -> None:
    server = any_server
    jobs = submit_group(server, [{}, {"misbehaviour": "die_in_decode"}, {}, {}])
    first, killer, *others = (wait_until_final(server, job) for job in jobs)
    assert (killer["state"], killer["error"]["code"]) == ("failed", "engine_crash")
    for seed, job in zip((0, 2, 3), (first, *others), strict=True):
        assert job["transcript"]["text"] == spoken_text(make_clip(seed))
        assert job["attempt"] == 1
        assert "requeued" in read_events(server, job["id"])
    lines = [line for line in server.log_text().splitlines() if "job_requeued reason=engine_crash" in line]
    assert {job for job in jobs if any(f"job_id={job}" in line for line in lines)} == set(jobs)


def test_a_job_is_not_blamed_for_a_crash_while_the_engine_ignores_the_stop_of_another(
    server: RealServer,
) -> None:
    scripts: list[Script] = [{"misbehaviour": "ignore_stop", "speed": 0.5}, {"speed": 0.5}]
    stubborn, innocent = submit_group(server, scripts)
    wait_for(lambda: read(server, stubborn)["state"] == "running", what="the claim")
    assert server.client.delete(f"/v1/jobs/{stubborn}").status_code == 202
    assert wait_until_final(server, stubborn)["state"] == "cancelled"
    for model in find_model_processes(server.worker.pid):
        model.kill()
    ended = wait_until_final(server, innocent)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert "requeued" in read_events(server, innocent)


def test_a_clip_rides_along_with_a_long_file(server: RealServer) -> None:
    seconds = 6 * ROWS * CLIP_S
    file = submit_file(server, seconds=seconds)
    wait_for(lambda: read(server, file)["progress"]["processed_s"] > 0, what="a window of the file")
    clip = wait_until_final(server, submit(server, make_clip(1)))
    assert clip["transcript"]["text"] == spoken_text(make_clip(1))
    assert read(server, file)["state"] == "running"
    text = wait_until_final(server, file)["transcript"]["text"]
    assert text == spoken_text(make_clip(7, seconds=seconds))
    assert "requeued" not in read_events(server, file)


def test_a_job_that_times_out_does_not_use_up_the_time_of_its_companions(make_server: MakeServer) -> None:
    limits = {"REQUEST_TIMEOUT": "4", "JOB_TIMEOUT_FACTOR": "0.1"}
    server = make_server(BATCH_WINDOWS="2", WINDOW_S=str(CLIP_S), SCRIPTED_SPEED="40", **limits).start()
    wait_until_final(server, submit(server, make_clip(0)))
    blocker = submit(server, make_clip(99), speed=2)
    wait_for(lambda: read(server, blocker)["state"] == "running", what="the claim")
    recording = make_clip(1, seconds=3 * CLIP_S)
    file = str(server.client.post("/v1/jobs", files={"file": write_wav(recording)}).json()["id"])
    endless = wait_until_final(server, submit(server, make_clip(0), speed=0.01))
    assert endless["error"]["code"] == "timeout"
    assert wait_until_final(server, file)["transcript"]["text"] == spoken_text(recording)
    wait_for(lambda: read_batches(server), what="a batch of both")


def submit_file(server: RealServer, *, seconds: float) -> str:
    """Submit a file as a batch job that takes a tenth of a second for each window, and return its id."""
    answer = server.client.post(
        "/v1/jobs",
        files={"file": write_wav(make_clip(7, seconds=seconds))},
        data={"prompt": json.dumps({"speed": 40})},
    )
    return str(answer.json()["id"])


def count_batches(server: RealServer) -> int:
    return server.log_text().count("event=batch_decoded ")


def test_a_clip_joins_the_running_batch_of_a_long_file(joining_server: RealServer) -> None:
    server, seconds = joining_server, 6 * ROWS * CLIP_S
    wait_for(lambda: count_batches(server) == 1, what="the end of the first batch")
    file = submit_file(server, seconds=seconds)
    wait_for(lambda: read(server, file)["progress"]["processed_s"] > 0, what="a window of the file")

    clip = wait_until_final(server, submit(server, make_clip(1)))

    assert clip["transcript"]["text"] == spoken_text(make_clip(1))
    assert read(server, file)["state"] == "running"
    assert count_batches(server) == 1
    text = wait_until_final(server, file)["transcript"]["text"]
    assert text == spoken_text(make_clip(7, seconds=seconds))
    assert "requeued" not in read_events(server, file)
    wait_for(lambda: " jobs=2 " in "".join(read_batches(server)), what="the end of the batch of both")
