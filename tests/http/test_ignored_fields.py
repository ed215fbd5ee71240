"""Fields that an endpoint ignores are named in its answer and in the log."""

import httpx
import pytest

from tests.support.audio import make_tones, write_wav
from tests.support.log_lines import capture_log_lines
from tests.support.scripted_worker import ScriptedWorker

RECORDING = {"file": ("a.wav", write_wav(make_tones(1)), "audio/wav")}


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"])
def test_the_answer_names_the_fields_that_it_ignores(api: httpx.Client, redis_url: str, path: str) -> None:
    fields = {"langauge": "de", "temperature": "0", "vad_filter": "true", "größe": "", "tags[]": "x"}
    with capture_log_lines() as lines, ScriptedWorker(redis_url):
        answer = api.post(path, files=RECORDING, data=fields)

    assert answer.is_success
    assert answer.headers["x-ignored-fields"] == "langauge, vad_filter, gr%C3%B6%C3%9Fe, tags[]"
    (line,) = [line for line in lines if line["event"] == "fields_ignored"]
    assert line["nearest"]["langauge"] == "language"


def test_an_error_names_them_too(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.post("/v1/jobs", files=RECORDING, data={"temprature": "0", "temperature": "9"})

    assert (answer.status_code, answer.headers["x-ignored-fields"]) == (400, "temprature")


def test_a_field_of_another_endpoint_is_named(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.post("/v1/audio/transcriptions", files=RECORDING, data={"priority": "batch"})

    assert answer.headers["x-ignored-fields"] == "priority"


def test_without_such_fields_there_is_no_header(api: httpx.Client, redis_url: str) -> None:
    fields = {"language": "en", "timestamp_granularities[]": "segment", "known_speaker_names[]": ""}
    with ScriptedWorker(redis_url):
        answer = api.post("/v1/audio/transcriptions", files=RECORDING, data=fields)

    assert answer.status_code == 200
    assert "x-ignored-fields" not in answer.headers


def test_a_field_without_a_name_breaks_no_answer(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.post("/v1/audio/transcriptions", files=RECORDING, data={"0": "null", "": "null"})

    assert (answer.status_code, answer.headers["x-ignored-fields"]) == (200, "0")
