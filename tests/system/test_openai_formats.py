"""Every format of a transcript reaches the users of OpenAI's clients in the shape that they know."""

import io
from pathlib import Path
from typing import Any

import pytest
import webvtt

from scripts.purposes import REPOSITORY
from tests.support.openai_clients import Caller, ClientProcess
from tests.support.server import RealServer
from tests.word_errors import count_errors

SPEECH = REPOSITORY / "tests" / "audio" / "speech.mp3"
SENTENCE = "We walked along the river until the sun went down behind the hills."
SEGMENT_FIELDS = {
    "id": int,
    "seek": int,
    "start": float,
    "end": float,
    "text": str,
    "tokens": list,
    "temperature": float,
    "avg_logprob": float,
    "compression_ratio": float,
    "no_speech_prob": float,
}
PLAIN_TEXT = "text/plain; charset=utf-8"

# Start and end in seconds, and the lines.
Cue = tuple[float, float, list[str]]


def read_srt(body: str) -> list[Cue]:
    """The cues of a SubRip file, which are numbered from 1."""
    cues = read_cues(body, "srt")
    assert [block.partition("\n")[0] for block in body.strip().split("\n\n")] == [
        str(number + 1) for number in range(len(cues))
    ]
    return cues


def read_vtt(body: str) -> list[Cue]:
    """The cues of a WebVTT file."""
    return read_cues(body, "vtt")


def read_cues(body: str, kind: str) -> list[Cue]:
    """The cues that a parser finds."""
    captions = webvtt.WebVTT.from_buffer(io.StringIO(body), format=kind).captions
    return [
        (seconds(caption.start), seconds(caption.end), caption.raw_text.splitlines()) for caption in captions
    ]


def seconds(timestamp: str) -> float:
    """What `01:02:03.456` is in seconds."""
    hours, minutes, rest = timestamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def join_text(cues: list[Cue]) -> str:
    """All that the cues say, on one line."""
    return " ".join(" ".join(lines) for _, _, lines in cues)


def assert_readable(cues: list[Cue], text: str) -> None:
    assert join_text(cues) == text
    times = [moment for start, end, _ in cues for moment in (start, end)]
    assert times == sorted(times)
    assert all(start < end <= start + 7.001 for start, end, _ in cues)


def as_numbers(value: Any) -> Any:
    """The value with whole numbers as floats: what comes from Node does not tell them apart."""
    return float(value) if isinstance(value, int) else value


def test_verbose_json_has_all_fields_of_a_segment(caller: Caller, tones: Path, tones_text: str) -> None:
    answer = caller.transcribe(tones, response_format="verbose_json")
    body = answer.value
    assert (body["text"], body["language"]) == (tones_text, "english")
    assert as_numbers(body["duration"]) == pytest.approx(12.0)
    assert body["usage"] == {"type": "duration", "seconds": 12}
    assert body["segments"]
    assert not body.get("words")
    for number, segment in enumerate(body["segments"]):
        assert segment["id"] == number
        for name, kind in SEGMENT_FIELDS.items():
            value = as_numbers(segment[name]) if kind is float else segment[name]
            assert isinstance(value, kind), name
        assert segment["start"] < segment["end"]
    assert " ".join(segment["text"] for segment in body["segments"]).split() == tones_text.split()


def test_python_takes_verbose_json_for_what_it_is(caller: Caller, tones: Path) -> None:
    answer = caller.transcribe(tones, response_format="verbose_json")
    assert answer.type == ("object" if caller.process.is_node else "TranscriptionVerbose")


@pytest.mark.parametrize(
    ("granularities", "has_segments", "has_words"),
    [(["segment"], True, False), (["word"], False, True), (["word", "segment"], True, True)],
)
def test_granularities_choose_between_segments_and_words(
    some_caller: Caller, tones: Path, granularities: list[str], *, has_segments: bool, has_words: bool
) -> None:
    answer = some_caller.transcribe(
        tones, response_format="verbose_json", timestamp_granularities=granularities
    )
    assert bool(answer.value.get("segments")) == has_segments
    assert bool(answer.value.get("words")) == has_words


def test_words_have_times_in_order(some_caller: Caller, tones: Path, tones_text: str) -> None:
    answer = some_caller.transcribe(tones, response_format="verbose_json", timestamp_granularities=["word"])
    words = answer.value["words"]
    assert [word["word"] for word in words] == tones_text.split()
    assert all(set(word) == {"word", "start", "end"} and word["start"] < word["end"] for word in words)
    times = [moment for word in words for moment in (word["start"], word["end"])]
    assert times == sorted(times)


def test_granularities_without_brackets_count_as_well(openai_server: RealServer, tones: Path) -> None:
    form = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}
    answer = openai_server.client.post(
        "/v1/audio/transcriptions", files={"file": tones.read_bytes()}, data=form
    )
    assert answer.json()["words"]
    assert answer.json()["segments"]


def test_srt_has_numbered_cues(caller: Caller, tones: Path, tones_text: str) -> None:
    answer = caller.transcribe(tones, response_format="srt")
    assert answer.type == "str"
    assert "\r" not in answer.value
    assert_readable(read_srt(answer.value), tones_text)


def test_vtt_has_a_header_and_cues(caller: Caller, tones: Path, tones_text: str) -> None:
    answer = caller.transcribe(tones, response_format="vtt")
    assert answer.type == "str"
    assert answer.value.startswith("WEBVTT\n\n")
    assert_readable(read_vtt(answer.value), tones_text)


@pytest.mark.parametrize("response_format", ["srt", "vtt"])
def test_subtitles_are_plain_text(some_caller: Caller, tones: Path, response_format: str) -> None:
    answer = some_caller.with_extras(raw=True).transcribe(tones, response_format=response_format)
    assert answer.headers["content-type"] == PLAIN_TEXT
    assert answer.type == "str"


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
def test_json_is_announced_as_such(some_caller: Caller, tones: Path, response_format: str) -> None:
    answer = some_caller.with_extras(raw=True).transcribe(tones, response_format=response_format)
    assert answer.headers["content-type"] == "application/json"


def test_subtitles_of_speech_hold_its_text(some_client: ClientProcess, whisper_server: RealServer) -> None:
    caller = some_client.at(whisper_server)
    subtitles = caller.transcribe(SPEECH, response_format="srt", language="en").value
    cues = read_srt(subtitles)
    assert count_errors(SENTENCE, join_text(cues), language="en").rate <= 0.1
    assert max(len(line) for _, _, lines in cues for line in lines) <= 42


@pytest.mark.parametrize(
    ("response_format", "text"), [("srt", ""), ("vtt", "WEBVTT"), ("text", ""), ("verbose_json", "")]
)
def test_silence_is_no_cue_and_no_segment(
    some_client: ClientProcess, whisper_server: RealServer, response_format: str, text: str
) -> None:
    silence = REPOSITORY / "tests" / "audio" / "silence.flac"
    answer = some_client.at(whisper_server).transcribe(silence, response_format=response_format)
    if response_format == "verbose_json":
        assert (answer.value["text"], answer.value["segments"]) == ("", [])
    else:
        assert answer.value.strip() == text
