"""Every parameter over real HTTP at each endpoint: it reaches the worker, or is refused."""

import httpx
import msgspec
import pytest

from shared.jobs import SpeechDetection, TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, Word
from tests.support.audio import make_tones, write_wav
from tests.support.scripted_worker import CAPABILITIES, Script, ScriptedWorker

TRANSCRIPTIONS = "/v1/audio/transcriptions"
ENDPOINTS = [TRANSCRIPTIONS, f"{TRANSCRIPTIONS}/stream", "/v1/jobs"]
AUDIO = write_wav(make_tones(1))
SCRIPT = Script(segments=[Segment(0.0, 1.0, "Hello.", "en", (Word(0.0, 1.0, "Hello."),))])

Fields = dict[str, str | list[str]]

SPEECH_FIELDS: list[tuple[Fields, TranscriptionRequest]] = [
    ({"language": "en-GB"}, TranscriptionRequest(language_hint="en")),
    ({"languages[]": "German"}, TranscriptionRequest(language_hint="de")),
    ({"languages[]": ["German", "en-GB", "de"]}, TranscriptionRequest(languages=("de", "en"))),
    ({"prompt": "Names:\nÅsa"}, TranscriptionRequest(context="Names:\nÅsa")),
    ({"prompt": "A talk", "keywords[]": ["Åsa", "Qwen"]}, TranscriptionRequest(context="A talk\nÅsa, Qwen")),
    ({"temperature": "0.0"}, TranscriptionRequest(temperature=0.0)),
    ({"temperature": "0.2"}, TranscriptionRequest(temperature=0.2)),
    ({"chunking_strategy": "auto"}, TranscriptionRequest()),
    (
        {
            "chunking_strategy[type]": "server_vad",
            "chunking_strategy[threshold]": "0.6",
            "chunking_strategy[prefix_padding_ms]": "250",
            "chunking_strategy[silence_duration_ms]": "1000",
        },
        TranscriptionRequest(speech_detection=SpeechDetection(0.6, 0.25, 1.0)),
    ),
    ({"return_timestamps": "true"}, TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)),
    ({"vad_filter": "true", "hotwords": "Qwen", "language": "", "prompt": ""}, TranscriptionRequest()),
    ({"model": "whisper-1", "stream": "false", "response_format": "json"}, TranscriptionRequest()),
]

REFUSED: list[tuple[Fields, str]] = [
    ({"language": "Englsh"}, "language"),
    ({"languages[]": ["en", "Klingon"]}, "language"),
    ({"languages[]": "de", "language": "en"}, "languages"),
    ({"languages[]": ["en", "de"], "return_timestamps": "true"}, "return_timestamps"),
    ({"temperature": "1.5"}, "temperature"),
    ({"temperature": "warm"}, "temperature"),
    ({"chunking_strategy": "sometimes"}, "chunking_strategy"),
    ({"chunking_strategy[threshold]": "7"}, "chunking_strategy"),
    ({"response_format": "yaml"}, "response_format"),
    ({"include[]": "logprobs"}, "include"),
    ({"known_speaker_names[]": "Ann"}, "known_speaker_names"),
    ({"return_timestamps": "true", "language": "de"}, "return_timestamps"),
]

REFUSED_FOR_THE_FORMAT: list[tuple[Fields, str]] = [
    ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
    ({"timestamp_granularities[]": "word", "response_format": "srt"}, "timestamp_granularities"),
    ({"stream": "true", "response_format": "srt"}, "stream"),
    ({"stream": "true", "response_format": "vtt"}, "stream"),
    ({"stream": "true", "response_format": "verbose_json"}, "stream"),
    (
        {"timestamp_granularities": "word", "response_format": "verbose_json", "language": "de"},
        "timestamp_granularities",
    ),
]


def post(api: httpx.Client, endpoint: str, fields: Fields) -> httpx.Response:
    return api.post(endpoint, files={"file": ("a.wav", AUDIO)}, data=fields)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("fields", "request_"), SPEECH_FIELDS)
def test_speech_parameters_reach_the_worker_from_every_endpoint(
    api: httpx.Client, redis_url: str, endpoint: str, fields: Fields, request_: TranscriptionRequest
) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        assert post(api, endpoint, fields).is_success
        claim = worker.wait_for_claim()
    assert claim.request == request_


@pytest.mark.parametrize(
    ("fields", "word_timestamps"),
    [
        ({"timestamp_granularities[]": "segment"}, WordTimestamps.WELCOME),
        ({"timestamp_granularities[]": ["segment", "word"]}, WordTimestamps.REQUIRED),
        (
            {"timestamp_granularities[]": "segment", "timestamp_granularities": "word"},
            WordTimestamps.REQUIRED,
        ),
        ({"timestamp_granularities": "segment,word"}, WordTimestamps.REQUIRED),
        ({}, WordTimestamps.WELCOME),
    ],
)
def test_granularities_are_read_by_either_name(
    api: httpx.Client, redis_url: str, fields: Fields, word_timestamps: WordTimestamps
) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        answer = post(api, TRANSCRIPTIONS, {"response_format": "verbose_json", **fields})
        claim = worker.wait_for_claim()
    assert answer.is_success
    assert claim.request.word_timestamps is word_timestamps


@pytest.mark.parametrize("response_format", ["json", "text", "srt", "vtt", "verbose_json"])
@pytest.mark.parametrize("name", ["timestamp_granularities", "timestamp_granularities[]"])
def test_segments_can_be_requested_with_every_format(
    api: httpx.Client, redis_url: str, name: str, response_format: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, TRANSCRIPTIONS, {name: "segment", "response_format": response_format})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_field_sent_as_a_file_is_read(api: httpx.Client, redis_url: str, endpoint: str) -> None:
    files = {
        "file": ("a.wav", AUDIO),
        "prompt": ("prompt.txt", "Åsa".encode()),
        "cover": ("a.png", b"\x89PNG"),
    }
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        assert api.post(endpoint, files=files).is_success
        assert worker.wait_for_claim().request == TranscriptionRequest(context="Åsa")
        check_refusal(api.post(endpoint, files={**files, "language": ("blob", b"klingonzz")}), "language")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_hotwords_may_be_many_fields(api: httpx.Client, redis_url: str, endpoint: str) -> None:
    words = [f"word{number}" for number in range(200)]
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        assert post(api, endpoint, {"keywords[]": words}).is_success
        assert worker.wait_for_claim().request == TranscriptionRequest(context=", ".join(words))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("fields", "param"), REFUSED)
def test_unsupported_values_are_refused_at_every_endpoint(
    api: httpx.Client, redis_url: str, endpoint: str, fields: Fields, param: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        check_refusal(post(api, endpoint, fields), param)


@pytest.mark.parametrize(("fields", "param"), REFUSED_FOR_THE_FORMAT)
def test_fields_that_do_not_fit_the_format_are_refused(
    api: httpx.Client, redis_url: str, fields: Fields, param: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        check_refusal(post(api, TRANSCRIPTIONS, fields), param)


def test_a_format_of_openai_only_is_refused_with_its_code(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, TRANSCRIPTIONS, {"response_format": "diarized_json"})
    check_refusal(answer, "response_format", code="unsupported_value")


def test_words_are_refused_if_the_engine_has_none(api: httpx.Client, redis_url: str) -> None:
    wordless = msgspec.structs.replace(CAPABILITIES, word_languages=frozenset())
    fields: Fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    with ScriptedWorker(redis_url, SCRIPT, capabilities=wordless):
        check_refusal(post(api, TRANSCRIPTIONS, fields), "timestamp_granularities")


@pytest.mark.parametrize(
    "model",
    [
        "tests/Scripted-0.6B",
        "Scripted-0.6B",
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "",
    ],
)
def test_a_model_is_accepted_by_id_short_name_or_alias(api: httpx.Client, redis_url: str, model: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        assert post(api, TRANSCRIPTIONS, {"model": model}).is_success


@pytest.mark.parametrize("model", ["gpt-4o-transcribe-diarize", "Scripted", "tests", "WHISPER-1"])
def test_an_unknown_model_is_not_found_with_the_known_ones(
    api: httpx.Client, redis_url: str, model: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, TRANSCRIPTIONS, {"model": model})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    for name in ("tests/Scripted-0.6B", "whisper-1", "gpt-4o-transcribe"):
        assert f"'{name}'" in error["message"]


def check_refusal(answer: httpx.Response, param: str, *, code: str | None = None) -> None:
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert error["message"].endswith(".")
