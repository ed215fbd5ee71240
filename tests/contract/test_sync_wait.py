"""SYNC_WAIT_S bounds how long a synchronous call waits, and not the job."""

import threading
from pathlib import Path

import httpx

from api.settings import ApiSettings
from tests.fakes.api_server import serve_api
from tests.fakes.audio import make_tones, write_wav
from tests.fakes.scripted_worker import Script, ScriptedWorker
from tests.fakes.server import wait_for

AUDIO = write_wav(make_tones(2))


def test_a_call_that_waited_long_enough_is_told_where_its_job_goes_on(redis_url: str, tmp_path: Path) -> None:
    answered = threading.Event()
    settings = ApiSettings(redis_url=redis_url, data_dir=tmp_path, sync_wait_s=0.2)
    script = Script(partials=["Hello"])
    with (
        serve_api(settings) as base_url,
        httpx.Client(base_url=base_url, timeout=30) as client,
        ScriptedWorker(redis_url, script, step=answered.wait),
    ):
        answer = client.post("/v1/audio/transcriptions", files={"file": AUDIO})
        job_id = answer.headers["x-job-id"]
        answered.set()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "sync_wait_over")
        assert job_id in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        wait_for(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded", what="its success")


def test_a_call_that_is_quick_enough_gets_its_text(redis_url: str, tmp_path: Path) -> None:
    settings = ApiSettings(redis_url=redis_url, data_dir=tmp_path, sync_wait_s=30)
    with (
        serve_api(settings) as base_url,
        httpx.Client(base_url=base_url, timeout=30) as client,
        ScriptedWorker(redis_url),
    ):
        assert client.post("/v1/audio/transcriptions", files={"file": AUDIO}).status_code == 200
