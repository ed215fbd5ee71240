"""Real speech goes in and its text comes out, by all three endpoints, in every format."""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import httpx_sse
import pytest

from tests.support.server import RealServer, wait_for
from tests.word_errors import ErrorCount, add_counts, count_errors

AUDIO_DIR = Path(__file__).parents[1] / "audio"
URL = "/v1/audio/transcriptions"

# The highest word error rate (for Chinese: character error rate) allowed over all clips of a language.
# English is the goal; the others were measured and given some room: de 14 %, fr 20 %, es 0 %, zh 9 %,
# each on one clip of 9 to 23 words. The Portuguese clip has 15 words of which 3 to 11 are wrong,
# depending on 0.1 s of silence more or less before it.
MAX_ERROR_RATES = {"en": 0.10, "de": 0.30, "fr": 0.30, "es": 0.25, "pt": 0.75, "zh": 0.20}


class Clip(NamedTuple):
    """A recording and what is said in it."""

    path: Path
    language: str
    text: str


def read_manifest(folder: Path, text_column: str) -> list[Clip]:
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Clip(folder / row["file"], row["language"], row[text_column]) for row in rows]


CLIPS = read_manifest(AUDIO_DIR, "text")
# The others have a decoder that one of these tries as well.
QUICK = {"speech.mp3", "speech.m4a", "speech.ogg", "streamed.webm", "long.ogg"}
LONG = next(clip for clip in CLIPS if clip.path.name == "long.ogg")


def transcribe(server: RealServer, path: Path, **form: str) -> dict[str, object]:
    with path.open("rb") as file:
        answer = server.client.post(URL, files={"file": file}, data=form)
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


def error_rate(clip: Clip, text: object) -> float:
    return count_errors(clip.text, str(text), language=clip.language).rate


@pytest.mark.parametrize(
    "clip",
    [pytest.param(clip, marks=[] if clip.path.name in QUICK else pytest.mark.full) for clip in CLIPS],
    ids=lambda clip: clip.path.name,
)
def test_every_format_is_transcribed(whisper_server: RealServer, clip: Clip) -> None:
    body = transcribe(whisper_server, clip.path)
    assert error_rate(clip, body["text"]) <= 0.1, body["text"]
    assert body["language"] == "en"


@pytest.mark.parametrize("language", ["en", "EN", "English", "auto", ""])
def test_the_language_may_be_given_in_any_spelling(whisper_server: RealServer, language: str) -> None:
    body = transcribe(whisper_server, AUDIO_DIR / "speech.mp3", language=language)
    assert body["language"] == "en"
    assert error_rate(CLIPS[0], body["text"]) <= 0.1


def test_word_timestamps_are_ordered_and_inside_the_audio(whisper_server: RealServer) -> None:
    body = transcribe(whisper_server, LONG.path, return_timestamps="true")
    words = body["timestamps"]
    assert isinstance(words, list)
    assert [word["word"] for word in words] == str(body["text"]).split()
    times = [moment for word in words for moment in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[-1] <= float(str(body["duration"])) + 0.5


def test_silence_gives_an_empty_text(whisper_server: RealServer) -> None:
    assert transcribe(whisper_server, AUDIO_DIR / "silence.flac")["text"] == ""


@pytest.mark.parametrize("name", ["corrupt.mp3", "header_only.wav", "video_without_sound.mp4"])
def test_what_is_no_sound_is_refused(whisper_server: RealServer, name: str) -> None:
    answer = whisper_server.client.post(URL, files={"file": (AUDIO_DIR / name).read_bytes()})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"


def test_text_streams_before_the_end_and_its_last_event_is_the_whole(whisper_server: RealServer) -> None:
    with (
        LONG.path.open("rb") as file,
        httpx_sse.connect_sse(whisper_server.client, "POST", f"{URL}/stream", files={"file": file}) as source,
    ):
        events = list(source.iter_sse())
    texts = [json.loads(event.data) for event in events if event.event == "message"]
    assert texts[-1] == {"done": True}
    final = texts[-2]
    assert final["is_final"] is True
    assert error_rate(LONG, final["text"]) <= 0.1
    partials = [text["text"] for text in texts[:-2]]
    assert len(partials) >= 2
    assert all(len(shorter) < len(final["text"]) for shorter in partials[:1])
    assert not any(text["is_final"] for text in texts[:-2])


def test_a_job_is_submitted_and_polled(whisper_server: RealServer) -> None:
    with LONG.path.open("rb") as file:
        accepted = whisper_server.client.post("/v1/jobs", files={"file": file})
    assert accepted.status_code == 202
    location = accepted.headers["location"]

    def look() -> dict[str, object] | None:
        job: dict[str, object] = whisper_server.client.get(location).json()
        return job if job["state"] == "succeeded" else None

    job = wait_for(look, what="the transcript")
    transcript = job["transcript"]
    assert isinstance(transcript, dict)
    assert error_rate(LONG, transcript["text"]) <= 0.1


@pytest.mark.full
@pytest.mark.speech
@pytest.mark.timeout(600)
def test_human_speech_is_recognised(
    whisper_server: RealServer, speech_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: defaultdict[str, list[ErrorCount]] = defaultdict(list)
    for clip in read_manifest(speech_dir, "reference"):
        text = str(transcribe(whisper_server, clip.path)["text"])
        counts[clip.language].append(count_errors(clip.text, text, language=clip.language))
    rates = {language: add_counts(of_language).rate for language, of_language in counts.items()}
    with capsys.disabled():
        listing = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
        sys.stdout.write(f"\nword error rates: {listing}\n")
    assert set(rates) == set(MAX_ERROR_RATES)
    too_high = {name: rate for name, rate in rates.items() if rate > MAX_ERROR_RATES[name]}
    assert not too_high
