"""Whatever is wrong with a request, OpenAI's clients raise the right error, and repeat only what may help."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY
from tests.support.audio import make_tones, write_wav
from tests.support.openai_clients import Caller, ClientError, ClientProcess, SentFile
from tests.support.request_log import new_request_id, read_statuses
from tests.support.server import RealServer, wait_for

AUDIO_DIR = REPOSITORY / "tests" / "audio"
MakeServer = Callable[..., RealServer]

ANY_CODE = "any"

# Parameters, and of the error raised: its param and code.
REFUSED = [
    ({"response_format": "docx"}, "response_format", None),
    ({"response_format": "diarized_json"}, "response_format", "unsupported_value"),
    ({"language": "Klingonish"}, "language", ANY_CODE),
    ({"language": "xx"}, "language", ANY_CODE),
    ({"temperature": 1.5}, "temperature", ANY_CODE),
    ({"include": ["logprobs"]}, "include", ANY_CODE),
    ({"include": ["everything"]}, "include", ANY_CODE),
    ({"timestamp_granularities": ["word"]}, "timestamp_granularities", ANY_CODE),
    (
        {"response_format": "verbose_json", "timestamp_granularities": ["line"]},
        "timestamp_granularities",
        ANY_CODE,
    ),
    ({"chunking_strategy": "sometimes"}, "chunking_strategy", ANY_CODE),
    ({"chunking_strategy": {"type": "server_vad", "threshold": 2}}, "chunking_strategy", ANY_CODE),
]


@pytest.fixture(scope="session")
def strict_server(make_lasting_server: MakeServer) -> RealServer:
    """A server with low limits."""
    return make_lasting_server(MAX_UPLOAD_BYTES="500000", MAX_AUDIO_S="13", REQUEST_TIMEOUT="1").start()


def error_of(caller: Caller, file: Path | SentFile, **parameters: object) -> ClientError:
    """What the client raises, once it is known that it has the right form."""
    error = caller.transcribe(file, **parameters).error
    assert error is not None
    assert "APIStatusError" in error.bases or caller.process.is_node
    assert "APIError" in error.bases
    assert error.type in ("invalid_request_error", "server_error")
    assert len(error.message) > 20
    assert "Traceback" not in error.message
    assert error.request_id
    return error


def transcribe_counting(
    caller: Caller, server: RealServer, file: Path | SentFile, **parameters: object
) -> tuple[ClientError, list[int]]:
    """What the client raises, and how each of its requests was answered."""
    request_id = new_request_id()
    counted = caller.with_extras(headers={"x-request-id": request_id})
    error = error_of(counted, file, **parameters)
    assert error.request_id == request_id
    return error, wait_for(lambda: read_statuses(server, request_id))


def resendable(caller: Caller, path: Path) -> SentFile:
    """The file in a way that the client would send again: Node's does not with a stream."""
    return SentFile(path, "toFile" if caller.process.is_node else None)


@pytest.mark.parametrize(("parameters", "param", "code"), REFUSED, ids=str)
def test_a_parameter_that_cannot_be_honoured_is_refused(
    some_caller: Caller, tones: Path, parameters: dict[str, object], param: str, code: str | None
) -> None:
    error = error_of(some_caller, tones, **parameters)
    assert (error.name, error.status, error.type) == ("BadRequestError", 400, "invalid_request_error")
    assert error.param is not None
    assert error.param.startswith(param)
    assert code in (ANY_CODE, error.code)


@pytest.mark.parametrize("name", ["corrupt.mp3", "header_only.wav", "video_without_sound.mp4"])
def test_what_is_no_sound_is_refused_and_not_sent_again(
    some_caller: Caller, openai_server: RealServer, name: str
) -> None:
    file = resendable(some_caller, AUDIO_DIR / name)
    error, statuses = transcribe_counting(some_caller, openai_server, file)
    assert (error.name, error.status, error.param) == ("BadRequestError", 400, "file")
    assert statuses == [400]


def test_an_empty_file_is_refused(some_caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    error = error_of(some_caller, tmp_path / "empty.wav")
    assert (error.name, error.status, error.param) == ("BadRequestError", 400, "file")


def test_a_recording_that_is_too_short_is_refused(some_caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "short.wav").write_bytes(write_wav(make_tones(0.05)))
    error = error_of(some_caller, tmp_path / "short.wav")
    assert (error.name, error.status, error.param) == ("BadRequestError", 400, "file")
    assert error.code == "audio_too_short"


def test_a_recording_that_is_too_long_is_refused(
    some_client: ClientProcess, strict_server: RealServer, tmp_path: Path
) -> None:
    (tmp_path / "long.wav").write_bytes(write_wav(make_tones(14)))
    error = error_of(some_client.at(strict_server), tmp_path / "long.wav")
    assert (error.name, error.status, error.code) == ("BadRequestError", 400, "audio_too_long")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_upload_that_is_too_large_is_refused_and_not_sent_again(
    client: ClientProcess, strict_server: RealServer, tmp_path: Path, *, is_streamed: bool
) -> None:
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(8 << 20))
    caller = client.at(strict_server)
    file = SentFile(large) if is_streamed else resendable(caller, large)
    error, statuses = transcribe_counting(caller, strict_server, file)
    assert (error.name, error.status) == (("APIError" if client.is_node else "APIStatusError"), 413)
    assert error.type == "invalid_request_error"
    assert statuses == [413]


def test_an_unknown_model_is_not_asked_for_again(
    caller: Caller, openai_server: RealServer, tones: Path
) -> None:
    error, statuses = transcribe_counting(
        caller, openai_server, resendable(caller, tones), model="whisper-99"
    )
    assert (error.name, error.code) == ("NotFoundError", "model_not_found")
    assert statuses == [404]


def test_a_wrong_address_is_told_in_words(
    some_client: ClientProcess, openai_server: RealServer, tones: Path
) -> None:
    lost = some_client.at(openai_server, base_url=f"{openai_server.base_url}/v2")
    error = error_of(lost, tones)
    assert (error.name, error.status) == ("NotFoundError", 404)
    assert "/v2/audio/transcriptions" in error.message


def test_a_failure_of_the_engine_is_not_tried_again(
    caller: Caller, openai_server: RealServer, tones: Path
) -> None:
    file = resendable(caller, tones)
    error, statuses = transcribe_counting(caller, openai_server, file, prompt='{"misbehaviour": "raise"}')
    assert (error.name, error.status, error.code) == ("InternalServerError", 500, "engine_error")
    assert error.type == "server_error"
    assert statuses == [500]


def test_what_took_too_long_is_not_tried_again(
    some_client: ClientProcess, strict_server: RealServer, tones: Path
) -> None:
    caller = some_client.at(strict_server)
    file = resendable(caller, tones)
    error, statuses = transcribe_counting(caller, strict_server, file, prompt='{"speed": 0.1}')
    assert (error.name, error.status, error.code) == ("InternalServerError", 504, "timeout")
    assert statuses == [504]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/audio/transcriptions", 405)]
)
def test_every_refusal_has_the_form_that_clients_read(
    openai_server: RealServer, method: str, path: str, status: int
) -> None:
    answer = openai_server.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["x-request-id"]
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("form", [{}, {"file": "a text"}, {f"field{number}": "x" for number in range(1100)}])
def test_a_form_without_a_file_is_refused_in_that_form(
    openai_server: RealServer, form: dict[str, str]
) -> None:
    parts = [(name, (None, text)) for name, text in form.items()] or [("model", (None, "whisper-1"))]
    answer = openai_server.client.post("/v1/audio/transcriptions", files=parts)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
