"""OpenAI's own clients send recordings in every way they have, and get the text."""

import json
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY
from tests.support.openai_clients import Caller, ClientProcess, ClientProcesses, SentFile
from tests.support.scripted_worker import ScriptedWorker
from tests.support.server import RealServer
from tests.word_errors import count_errors

AUDIO_DIR = REPOSITORY / "tests" / "audio"
SENTENCE = "We walked along the river until the sun went down behind the hills."

PYTHON_WAYS = ("path", "open", "named", "tuple", "bytes")
NODE_WAYS = ("stream", "toFile", "file")
CLIENTS_AND_WAYS = [
    *(
        (name, way)
        for name in ("python", "python-async", "python-1", "python-1-async")
        for way in PYTHON_WAYS
    ),
    *(("node", way) for way in NODE_WAYS),
]


def test_the_newest_python_client_and_one_of_version_1_really_run(client_processes: ClientProcesses) -> None:
    names = ("python", "python-async", "python-1", "python-1-async")
    greetings = [client_processes.find(name).greeting for name in names]
    versions = [tuple(map(int, greeting["version"].split("."))) for greeting in greetings]
    assert versions[0] == versions[1] >= (3, 54, 0)
    assert versions[2] == versions[3]
    assert (1, 109) <= versions[2] < (2,)


def test_the_client_for_node_is_the_locked_one(client_processes: ClientProcesses) -> None:
    lock = json.loads((REPOSITORY / "tests" / "clients" / "package-lock.json").read_text())
    greeting = client_processes.find("node").greeting
    locked = lock["packages"]["node_modules/openai"]["version"]
    assert greeting == {"name": "openai", "language": "node", "version": locked}


def test_a_transcription_has_its_text_and_what_it_took(caller: Caller, tones: Path, tones_text: str) -> None:
    answer = caller.transcribe(tones)
    assert answer.value["text"] == tones_text
    assert answer.value["usage"] == {"type": "duration", "seconds": 12}
    assert answer.value["language"] == "en"
    assert answer.request_id


def test_the_format_text_is_a_plain_text(caller: Caller, tones: Path, tones_text: str) -> None:
    answer = caller.transcribe(tones, response_format="text")
    assert (answer.type, answer.value) == ("str", f"{tones_text}\n")


@pytest.mark.parametrize(
    ("response_format", "content_type"), [("json", "application/json"), ("text", "text/plain; charset=utf-8")]
)
def test_the_content_type_is_that_of_the_format(
    some_caller: Caller, tones: Path, response_format: str, content_type: str
) -> None:
    answer = some_caller.with_extras(raw=True).transcribe(tones, response_format=response_format)
    assert answer.headers["content-type"] == content_type
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(("name", "way"), CLIENTS_AND_WAYS)
def test_a_file_is_taken_in_every_way_a_client_sends_it(
    client_processes: ClientProcesses, openai_server: RealServer, tones: Path, name: str, way: str
) -> None:
    answer = client_processes.find(name).at(openai_server).transcribe(SentFile(tones, way))
    assert answer.error is None
    assert answer.value["usage"]["seconds"] == 12


@pytest.mark.parametrize("name", ["recording", "recording.mp3", "ärger “1”.wav", "a;b=c.wav"])
def test_neither_name_nor_type_of_a_file_matters(
    some_client: ClientProcess, openai_server: RealServer, tones: Path, tones_text: str, name: str
) -> None:
    way = "file" if some_client.is_node else "tuple"
    sent = SentFile(tones, way, name, "application/pdf")
    assert some_client.at(openai_server).transcribe(sent).value["text"] == tones_text


@pytest.mark.parametrize("prompt", ["", "Grüße, 你好", 'first line\nsecond line\r\n\r\nlast: "quoted"'])
def test_any_prompt_is_taken(some_caller: Caller, tones: Path, tones_text: str, prompt: str) -> None:
    assert some_caller.transcribe(tones, prompt=prompt).value["text"] == tones_text


@pytest.fixture
def recorded_caller(some_client: ClientProcess, session_api: str) -> Caller:
    """One client of each package, at a server whose worker is the fixture of that name."""
    return Caller(some_client, {"base_url": f"{session_api}/v1", "api_key": "none"})


@pytest.mark.parametrize("language", ["de", "DE", "de-AT", "deu", "ger", "German", "Deutsch", "auto", ""])
def test_any_spelling_of_the_language_reaches_the_worker(
    recorded_caller: Caller, worker: ScriptedWorker, tones: Path, language: str
) -> None:
    assert recorded_caller.transcribe(tones, language=language).error is None
    expected = None if language in ("auto", "") else "de"
    assert [claim.request.language_hint for claim in worker.claims] == [expected]


@pytest.mark.parametrize("temperature", [0, 0.2])
def test_a_temperature_is_taken(
    some_caller: Caller, tones: Path, tones_text: str, temperature: float
) -> None:
    assert some_caller.transcribe(tones, temperature=temperature).value["text"] == tones_text


def test_fields_of_other_servers_are_passed_over(some_caller: Caller, tones: Path, tones_text: str) -> None:
    other = some_caller.with_extras(body={"vad_filter": True, "hotwords": "x", "batch_size": 8})
    assert other.transcribe(tones).value["text"] == tones_text


def test_word_timestamps_come_in_the_json_when_asked_for(
    some_caller: Caller, tones: Path, tones_text: str
) -> None:
    timed = some_caller.with_extras(body={"return_timestamps": True}).transcribe(tones)
    words = timed.value["timestamps"]
    assert [word["word"] for word in words] == tones_text.split()
    assert all(word["start"] < word["end"] for word in words)


@pytest.mark.parametrize("parameters", [{"chunking_strategy": "auto"}, {"stream": False}])
def test_what_asks_for_the_usual_changes_nothing(
    some_caller: Caller, tones: Path, tones_text: str, parameters: dict[str, object]
) -> None:
    assert some_caller.transcribe(tones, **parameters).value["text"] == tones_text


def test_numbers_for_the_detection_of_speech_are_taken(some_caller: Caller, tones: Path) -> None:
    strategy = {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 200, "silence_duration_ms": 400}
    answer = some_caller.transcribe(tones, chunking_strategy=strategy)
    assert answer.error is None
    assert answer.value["text"]


def test_speech_is_recognised(some_client: ClientProcess, whisper_server: RealServer) -> None:
    answer = some_client.at(whisper_server).transcribe(
        AUDIO_DIR / "speech.mp3", language="en", prompt="river"
    )
    assert count_errors(SENTENCE, answer.value["text"], language="en").rate <= 0.1
    assert answer.value["usage"] == {"type": "duration", "seconds": 5}


def test_silence_is_an_empty_text(some_client: ClientProcess, whisper_server: RealServer) -> None:
    assert some_client.at(whisper_server).transcribe(AUDIO_DIR / "silence.flac").value["text"] == ""
