"""With `stream=True` OpenAI's clients get the text while it comes, or an error that they understand."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from scripts.purposes import REPOSITORY
from tests.support.openai_clients import Caller, ClientAnswer, ClientProcess, ClientProcesses
from tests.support.request_log import new_request_id, read_requests, read_statuses
from tests.support.server import RealServer, wait_for
from tests.word_errors import count_errors

MakeServer = Callable[..., RealServer]
URL = "/v1/audio/transcriptions"
AUDIO_DIR = REPOSITORY / "tests" / "audio"
LAST_WORDS = {
    "speech.mp3": "until the sun went down behind the hills.",
    "long.ogg": "they played cards and talked about the summer.",
}

# What the scripted engine does in the second window of `tones`, when the first is done.
FAIL_LATER = json.dumps({"misbehaviour": "raise", "window": 1})
HANG_LATER = json.dumps({"misbehaviour": "hang", "window": 1})


@pytest.fixture(scope="module")
def beating_server(make_lasting_server: MakeServer) -> RealServer:
    """A server that breaks every silence by a comment, and takes a second for `tones`."""
    return make_lasting_server(HEARTBEAT_S="0.05", SCRIPTED_SPEED="12", WINDOW_S="4").start()


def assert_whole(answer: ClientAnswer) -> str:
    """Check that a stream is well formed, and answer its text."""
    assert answer.error is None, answer.error
    assert answer.events, "no event at all"
    kinds = [event["type"] for event in answer.events]
    assert kinds == ["transcript.text.delta"] * (len(kinds) - 1) + ["transcript.text.done"]
    text: str = answer.events[-1]["text"]
    assert "".join(event["delta"] for event in answer.events[:-1]) == text
    return text


def test_deltas_come_before_one_done_and_make_its_text(
    client: ClientProcess, beating_server: RealServer, tones: Path, tones_text: str
) -> None:
    answer = client.at(beating_server).transcribe(tones, stream=True)
    assert assert_whole(answer) == tones_text
    assert len(answer.events) >= 3


def test_python_takes_the_events_for_what_they_are(caller: Caller, tones: Path) -> None:
    kinds = set(caller.transcribe(tones, stream=True).event_types)
    of_python = {"TranscriptionTextDeltaEvent", "TranscriptionTextDoneEvent"}
    assert kinds == ({"object"} if caller.process.is_node else of_python)


def test_no_count_of_tokens_is_made_up(some_caller: Caller, tones: Path) -> None:
    assert some_caller.transcribe(tones, stream=True).events[-1].get("usage") is None


@pytest.mark.parametrize(("name", "clip"), [("python-1-async", "speech.mp3"), ("node", "long.ogg")])
def test_speech_is_streamed(
    client_processes: ClientProcesses, whisper_server: RealServer, name: str, clip: str
) -> None:
    caller = client_processes.find(name).at(whisper_server)
    text = assert_whole(caller.transcribe(AUDIO_DIR / clip, stream=True, language="en"))
    assert text == text.strip()
    last_words = " ".join(text.split()[-8:])
    assert count_errors(LAST_WORDS[clip], last_words, language="en").rate <= 0.15


def test_silence_is_a_done_without_text(some_client: ClientProcess, whisper_server: RealServer) -> None:
    silence = AUDIO_DIR / "silence.flac"
    assert assert_whole(some_client.at(whisper_server).transcribe(silence, stream=True)) == ""


def test_a_failure_on_the_way_is_raised_behind_what_came_before(
    caller: Caller, tones: Path, tones_text: str
) -> None:
    request_id = new_request_id()
    answer = caller.with_extras(headers={"x-request-id": request_id}).transcribe(
        tones, stream=True, prompt=FAIL_LATER
    )
    said = "".join(event["delta"] for event in answer.events)
    assert said
    assert tones_text.startswith(said)
    assert answer.error is not None
    assert (answer.error.name, answer.error.status) == ("APIError", None)
    assert (answer.error.code, answer.error.type) == ("engine_error", "server_error")
    assert answer.error.message


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"language": "Klingonish"}, {"language"}),
        ({"response_format": "srt"}, {"stream", "response_format"}),
        ({"response_format": "verbose_json"}, {"stream", "response_format"}),
        ({"response_format": "diarized_json"}, {"stream", "response_format"}),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_the_first_event(
    some_caller: Caller, tones: Path, parameters: dict[str, object], param: set[str]
) -> None:
    answer = some_caller.transcribe(tones, stream=True, **parameters)
    assert answer.events == ()
    assert answer.error is not None
    assert (answer.error.name, answer.error.status) == ("BadRequestError", 400)
    assert answer.error.param in param


def test_what_is_no_sound_is_refused_before_the_first_event(caller: Caller) -> None:
    error = caller.transcribe(AUDIO_DIR / "corrupt.mp3", stream=True).error
    assert error is not None
    assert (error.name, error.status, error.param) == ("BadRequestError", 400, "file")


def test_who_leaves_in_the_middle_ends_the_work(
    client: ClientProcess, tones: Path, openai_server: RealServer
) -> None:
    request_id = new_request_id()
    caller = client.at(openai_server, timeout=30, max_retries=0)
    leaving = caller.with_extras(headers={"x-request-id": request_id}, leave_after=1)
    answer = leaving.transcribe(tones, stream=True, prompt=HANG_LATER)
    assert [event["type"] for event in answer.events] == ["transcript.text.delta"]
    (request,) = wait_for(lambda: read_requests(openai_server, request_id), what="the end of the request")

    def is_cancelled() -> bool:
        body = openai_server.client.get(f"/v1/jobs/{request.job_id}").json()
        return bool(body["state"] == "cancelled")

    wait_for(is_cancelled, what="the cancellation")


def post_stream(server: RealServer, tones: Path, **form: str) -> tuple[httpx.Response, list[str]]:
    """A stream as it is on the wire: the response, and its frames."""
    answer = server.client.post(
        URL,
        files={"file": tones.read_bytes()},
        data={"stream": "true", **form},
        headers={"accept-encoding": "gzip", "accept": "application/json"},
    )
    assert answer.text.endswith("\n\n")
    return answer, answer.text.replace("\r\n", "\n").removesuffix("\n\n").split("\n\n")


def test_nothing_that_confuses_a_client_is_on_the_wire(openai_server: RealServer, tones: Path) -> None:
    answer, frames = post_stream(openai_server, tones)
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert "content-encoding" not in answer.headers
    assert "no-" in answer.headers["cache-control"]
    assert answer.headers["x-accel-buffering"] == "no"
    assert frames[-1] == "data: [DONE]"
    events = [frame for frame in frames if not frame.startswith(":")]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in events)
    kinds = {json.loads(frame.removeprefix("data: "))["type"] for frame in events[:-1]}
    assert kinds == {"transcript.text.delta", "transcript.text.done"}


def test_an_error_on_the_way_is_the_last_thing_on_the_wire(openai_server: RealServer, tones: Path) -> None:
    answer, frames = post_stream(openai_server, tones, prompt=FAIL_LATER)
    assert answer.status_code == 200
    told = json.loads([frame for frame in frames if frame != "data: [DONE]"][-1].removeprefix("data: "))
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text


def test_a_stream_of_a_client_is_one_request(caller: Caller, tones: Path, openai_server: RealServer) -> None:
    request_id = new_request_id()
    caller.with_extras(headers={"x-request-id": request_id}).transcribe(tones, stream=True, prompt=FAIL_LATER)
    assert wait_for(lambda: read_statuses(openai_server, request_id)) == [200]


def test_comments_between_events_disturb_nobody(
    some_client: ClientProcess, beating_server: RealServer, tones: Path, tones_text: str
) -> None:
    assert assert_whole(some_client.at(beating_server).transcribe(tones, stream=True)) == tones_text


def test_these_comments_are_really_sent(beating_server: RealServer, tones: Path) -> None:
    _, frames = post_stream(beating_server, tones)
    assert any(frame.startswith(":") for frame in frames)
