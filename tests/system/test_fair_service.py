"""Who asks for little does not wait for who asks for much, by the order of events, whatever the speed."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from shared.events import Event, Progress, Queued, Requeued, Started
from shared.record.connection import connect
from shared.record.readings import LOG_START
from shared.record.workers import read_workers
from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.record_readings import read_log
from tests.support.server import RealServer, wait_for

MakeServer = Callable[..., RealServer]
WINDOW_S = 30
CLIP = make_tones(5, seed=3)


@dataclass(frozen=True)
class Told:
    """An event of a job, and when it was told: ms of the server's clock, shared by all that it did in it."""

    at: int
    event: Event


@dataclass(frozen=True)
class Batching:
    """The rows of a batch, and the settings of a server with such batches."""

    rows: int
    settings: Mapping[str, str]


BATCHINGS = {
    "one row": Batching(1, {}),
    "fixed batches": Batching(4, {"BATCH_WINDOWS": "4"}),
    "rows that join": Batching(4, {"BATCH_WINDOWS": "4", "SCRIPTED_JOINS_ROWS": "true"}),
}


@pytest.fixture(params=BATCHINGS)
def batching(request: pytest.FixtureRequest) -> Batching:
    """Each kind of batches in turn. In a group, each job counts as if it was claimed alone."""
    return BATCHINGS[request.param]


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of silence, which the scripted engine has words for, in a small file."""
    path = tmp_path_factory.mktemp("hour") / "hour.flac"
    with soundfile.SoundFile(path, "w", 16_000, 1, format="FLAC") as file:
        for _ in range(60):
            file.write(np.zeros(60 * 16_000, np.float32))
    return path


def told_of(server: RealServer, job_id: str) -> Iterator[Told]:
    """All that the log says of a job."""
    page = connect(server.redis.url).run(read_log(job_id, after_id=LOG_START))
    assert page is not None
    for logged in page.events:
        yield Told(int(logged.event_id.partition("-")[0]), logged.event)


def when(server: RealServer, job_id: str, kind: type[Event]) -> int:
    """When the first event of this kind was told."""
    return next(told.at for told in told_of(server, job_id) if isinstance(told.event, kind))


def submit(server: RealServer, audio: bytes, *, key: str | None = None, **form: str) -> str:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = server.client.post("/v1/jobs", files={"file": audio}, data=form, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def state_of(server: RealServer, job_id: str, *, key: str | None = None) -> str:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return str(server.client.get(f"/v1/jobs/{job_id}", headers=headers).json()["state"])


def wait_until_done(server: RealServer, *job_ids: str, key: str | None = None) -> None:
    for job_id in job_ids:
        wait_for(lambda job_id=job_id: state_of(server, job_id, key=key) == "succeeded", what=job_id)  # type: ignore[misc]


class WaitingClient:
    """A client that sends a file by the synchronous endpoint, and waits for its text on a thread."""

    def __init__(self, server: RealServer, path: Path) -> None:
        self._client = httpx.Client(base_url=server.base_url, timeout=300)
        self._path = path
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self) -> None:
        try:
            with self._path.open("rb") as file:
                self._client.post("/v1/audio/transcriptions", files={"file": file})
        except httpx.HTTPError:
            pass  # it has left


def test_a_clip_waits_for_one_batch_of_an_hour_that_runs_though_both_came_by_the_same_endpoint(
    make_server: MakeServer, hour: Path, batching: Batching
) -> None:
    times = {"WINDOW_S": str(WINDOW_S), "SCRIPTED_SPEED": "60", "REQUEST_TIMEOUT": "300"}
    server = make_server(**times, **batching.settings).start()
    asking = WaitingClient(server, hour)
    long_id = wait_for(lambda: held_job(server), what="the claim of the hour")
    wait_for(
        lambda: any(isinstance(told.event, Progress) for told in told_of(server, long_id)), what="a window"
    )

    answer = server.client.post("/v1/audio/transcriptions", files={"file": write_wav(CLIP)})

    assert answer.json()["text"] == spoken_text(CLIP)
    clip_id = answer.headers["x-job-id"]
    came, began = when(server, clip_id, Queued), when(server, clip_id, Started)
    windows = [told.at for told in told_of(server, long_id) if isinstance(told.event, Progress)]
    assert sum(came < at <= began for at in windows) <= batching.rows
    yields = [told.at for told in told_of(server, long_id) if told.event == Requeued("yielded")]
    if batching.rows == 1:
        assert any(came <= at <= began for at in yields)
    else:  # the clip shares the batches of the hour
        assert yields == []
    wait_for(lambda: state_of(server, long_id) == "running", what="the hour to go on")
    assert server.client.get(f"/v1/jobs/{long_id}").json()["attempt"] == 1
    assert server.model_process() is not None
    server.client.delete(f"/v1/jobs/{long_id}")
    wait_for(lambda: state_of(server, long_id) == "cancelled", what="the end of the hour")
    asking.leave()


def held_job(server: RealServer) -> str | None:
    """The job that the worker is at."""
    (worker,) = connect(server.redis.url).run(read_workers())
    return next(iter(worker.job_ids), None)


@pytest.mark.full
def test_a_steady_stream_of_clips_does_not_stop_a_batch_job(make_server: MakeServer) -> None:
    server = make_server(WINDOW_S="5", SCRIPTED_SPEED="50").start()
    samples = make_tones(60, seed=5)
    batch = submit(server, write_wav(samples))
    clips = [submit(server, write_wav(CLIP), priority="interactive") for _ in range(40)]
    wait_until_done(server, *clips, batch)
    windows = sorted(
        (told.at, job_id)
        for job_id in (batch, *clips)
        for told in told_of(server, job_id)
        if isinstance(told.event, Progress)
    )
    waited = 0
    for _, job_id in windows[: max(index for index, (_, job_id) in enumerate(windows) if job_id != batch)]:
        waited = 0 if job_id == batch else waited + 1
        assert waited <= 9
    text = server.client.get(f"/v1/jobs/{batch}").json()["transcript"]["text"]
    assert text == spoken_text(samples)


@pytest.mark.full
@pytest.mark.parametrize("batching", ["fixed batches", "rows that join"], indirect=True)
def test_a_batch_job_keeps_its_row_beside_a_steady_stream_of_clips(
    make_server: MakeServer, batching: Batching
) -> None:
    server = make_server(WINDOW_S="5", SCRIPTED_SPEED="50", **batching.settings).start()
    samples = make_tones(60, seed=5)
    batch = submit(server, write_wav(samples))
    clips = [submit(server, write_wav(CLIP), priority="interactive") for _ in range(40)]
    wait_until_done(server, *clips, batch)
    assert not any(isinstance(told.event, Requeued) for told in told_of(server, batch))
    text = server.client.get(f"/v1/jobs/{batch}").json()["transcript"]["text"]
    assert text == spoken_text(samples)


@pytest.mark.full
def test_jobs_that_fail_before_their_first_window_do_not_stop_a_batch_job(
    make_server: MakeServer, batching: Batching
) -> None:
    server = make_server(**batching.settings).start()
    first = submit(server, write_wav(CLIP), priority="interactive", prompt='{"speed": 2}')
    wait_for(lambda: state_of(server, first) == "running", what="the first job")
    batch = submit(server, write_wav(CLIP))
    script = json.dumps({"misbehaviour": "raise"})
    failing = [submit(server, write_wav(CLIP), priority="interactive", prompt=script) for _ in range(15)]
    wait_until_done(server, batch)
    wait_for(lambda: state_of(server, failing[-1]) == "failed", what="the last failure")
    began = when(server, batch, Started)
    assert sum(when(server, job_id, Started) < began for job_id in failing) <= 9


@pytest.mark.full
def test_a_flood_of_one_key_delays_a_job_of_another_by_one_job(
    make_server: MakeServer, batching: Batching
) -> None:
    flooder, quiet = "flooder-0123456789", "quiet-0123456789"
    keys = {"API_KEYS": f"a={flooder},b={quiet}"}
    server = make_server(WINDOW_S="5", SCRIPTED_SPEED="10", **keys, **batching.settings).start()
    flood = [submit(server, write_wav(CLIP), key=flooder, priority="interactive") for _ in range(8)]
    single = submit(server, write_wav(CLIP), key=quiet, priority="interactive")
    wait_until_done(server, single, key=quiet)
    wait_until_done(server, *flood, key=flooder)
    came, began = when(server, single, Queued), when(server, single, Started)
    begun = [when(server, job_id, Started) for job_id in flood]
    assert sum(came < at < began for at in begun) <= 1


@pytest.mark.full
def test_an_engine_that_stands_still_costs_an_attempt_and_no_text(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(WINDOW_S="2", STALL_TIMEOUT_S="1").start()
    script = {"misbehaviour": "hang", "window": 1, "marker": str(tmp_path / "hung")}
    job_id = submit(server, write_wav(CLIP), prompt=json.dumps(script))
    wait_until_done(server, job_id)
    job = server.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["attempt"], job["transcript"]["text"]) == (2, spoken_text(CLIP))


@pytest.mark.full
def test_a_load_that_hangs_ends_and_fails_the_job(make_server: MakeServer) -> None:
    server = make_server(SCRIPTED_LOAD_S="600", LOAD_TIMEOUT_S="0.5").start()
    job_id = submit(server, write_wav(CLIP))
    wait_for(lambda: state_of(server, job_id) == "failed", what="the failure")
    assert server.client.get(f"/v1/jobs/{job_id}").json()["error"]["code"] == "engine_crash"


@pytest.mark.full
def test_a_worker_whose_model_process_keeps_dying_says_so_and_takes_no_jobs(make_server: MakeServer) -> None:
    server = make_server(SCRIPTED_MISBEHAVIOUR="die_in_load").start()
    for _ in range(2):
        submit(server, write_wav(CLIP))
    wait_for(lambda: server.client.get("/ready").status_code == 503, what="the rest of the worker")
    health = server.client.get("/health").json()
    assert health["status"] == "degraded"
    assert "died too often" in health["reason"]


@pytest.mark.full
def test_a_job_that_no_worker_begins_in_time_expires(make_server: MakeServer) -> None:
    server = make_server(QUEUE_TTL_S="1", SCRIPTED_SPEED="1").start()
    running = submit(server, write_wav(make_tones(10)))
    waiting = submit(server, write_wav(CLIP))
    wait_for(lambda: state_of(server, waiting) == "failed", what="the failure")
    assert server.client.get(f"/v1/jobs/{waiting}").json()["error"]["code"] == "expired"
    assert state_of(server, running) in ("running", "succeeded")
