"""SYNC_WAIT_S bounds how long a synchronous call waits, and not the job."""

from tests.support.api_server import OpenClient, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import read_listener_lease
from tests.support.scripted_worker import HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for

AUDIO = write_wav(make_tones(2))


def test_a_call_that_waited_long_enough_is_told_where_its_job_goes_on(
    serve_with: ServeWith, open_client: OpenClient, redis_url: str
) -> None:
    client = open_client(serve_with(sync_wait_s=0.2).url)
    with HeldWorker(redis_url, Script(partials=["Hello"])) as worker:
        answer = client.post("/v1/audio/transcriptions", files={"file": AUDIO})
        job_id = answer.headers["x-job-id"]
        assert read_listener_lease(redis_url, job_id) is None
        worker.go_on.set()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "sync_wait_over")
        assert job_id in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        wait_for(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded", what="its success")


def test_a_call_that_is_quick_enough_gets_its_text(
    serve_with: ServeWith, open_client: OpenClient, worker: ScriptedWorker
) -> None:
    client = open_client(serve_with(sync_wait_s=30).url)
    assert client.post("/v1/audio/transcriptions", files={"file": AUDIO}).status_code == 200
