"""One finished job in each format: nothing is left out that was asked for, nothing is null, nothing added."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.formats.rendering import render_answer, transcript_of
from api.formats.response_format import Granularity, ResponseFormat
from api.formats.transcript_formats import JSON, PLAIN_TEXT, render_srt, render_transcript, render_vtt
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, SegmentDecoding, TranscriptWarning, WarningCode, Word
from tests.support.finished_job import make_finished_job

WORDS = (Word(0.0, 0.4, "Hello,"), Word(0.5, 1.0, "don't…"))
DECODING = SegmentDecoding((50364, 2425), 0.2, -0.25, 0.01, 30.0)
JOB = make_finished_job(
    Segment(0.0, 1.0, "Hello, don't…", "en", WORDS, DECODING), Segment(2.0, 2.90049, "Ciao. ", "it")
)


def verbose(*granularities: Granularity, **changes: Any) -> dict[str, Any]:
    job = msgspec.structs.replace(JOB, **changes)
    body, media_type = render_transcript(job, ResponseFormat.VERBOSE_JSON, granularities)
    assert media_type == JSON
    told: dict[str, Any] = json.loads(body)
    return told


def test_verbose_json_says_all_that_openai_says_and_who_made_it() -> None:
    assert verbose() == {
        "task": "transcribe",
        "language": "english",
        "duration": 8.2,
        "text": "Hello, don't… Ciao.",
        "segments": [
            {
                "id": 0,
                "seek": 3000,
                "start": 0.0,
                "end": 1.0,
                "text": " Hello, don't…",
                "tokens": [50364, 2425],
                "temperature": 0.2,
                "avg_logprob": -0.25,
                "compression_ratio": 0.6522,
                "no_speech_prob": 0.01,
            },
            {
                "id": 1,
                "seek": 0,
                "start": 2.0,
                "end": 2.9,
                "text": " Ciao.",
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": 0.0,
                "compression_ratio": 0.3846,
                "no_speech_prob": 0.0,
            },
        ],
        "usage": {"type": "duration", "seconds": 9},
        "complete": True,
        "engine": "whisper",
        "model": "base",
    }


@pytest.mark.parametrize(
    ("granularities", "parts"),
    [
        ((), {"segments"}),
        ((Granularity.SEGMENT,), {"segments"}),
        ((Granularity.WORD,), {"words"}),
        ((Granularity.WORD, Granularity.SEGMENT), {"segments", "words"}),
    ],
)
def test_granularities_choose_what_is_there(granularities: tuple[Granularity, ...], parts: set[str]) -> None:
    assert verbose(*granularities).keys() & {"segments", "words"} == parts


def test_words_come_without_the_punctuation_around_them() -> None:
    assert verbose(Granularity.WORD)["words"] == [
        {"word": "Hello", "start": 0.0, "end": 0.4},
        {"word": "don't", "start": 0.5, "end": 1.0},
    ]


def test_a_word_of_punctuation_alone_stays() -> None:
    segments = (Segment(0.0, 1.0, "?!", "en", (Word(0.0, 1.0, "?!"),)),)
    assert verbose(Granularity.WORD, segments=segments)["words"][0]["word"] == "?!"


def test_warnings_are_told_in_verbose_json_as_well() -> None:
    warning = TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.5, 1.0)
    body = verbose(warnings=(warning,), is_complete=False)
    assert body["complete"] is False
    assert body["warnings"] == [{"code": "truncated", "message": "cut", "start": 0.5, "end": 1.0}]


def test_silence_has_no_segments_and_the_language_that_was_asked_for() -> None:
    body = verbose(segments=(), request=TranscriptionRequest(language_hint="yue"))
    assert (body["text"], body["segments"], body["language"]) == ("", [], "cantonese")
    assert verbose(segments=())["language"] == ""


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_0(number: float) -> None:
    decoding = SegmentDecoding((), number, number, number, 0.0)
    (segment,) = verbose(segments=(Segment(0.0, 1.0, "a", "en", (), decoding),))["segments"]
    assert {segment[name] for name in ("temperature", "avg_logprob", "no_speech_prob")} == {0.0}


def test_json_is_the_answer_as_it_always_was() -> None:
    job = msgspec.structs.replace(JOB, request=TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED))
    body, media_type = render_transcript(job, ResponseFormat.JSON)
    assert media_type == JSON
    assert json.loads(body) == render_answer(job).model_dump(exclude_unset=True)
    assert json.loads(body)["timestamps"][0] == {"word": "Hello,", "start": 0.0, "end": 0.4}


def test_everything_else_is_plain_text() -> None:
    transcript = transcript_of(JOB)
    assert render_transcript(JOB, ResponseFormat.TEXT) == (f"{transcript.text}\n", PLAIN_TEXT)
    assert render_transcript(JOB, ResponseFormat.SRT) == (render_srt(transcript), PLAIN_TEXT)
    assert render_transcript(JOB, ResponseFormat.VTT) == (render_vtt(transcript), PLAIN_TEXT)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            Segment,
            start_s=st.just(0.0),
            end_s=st.just(1.0),
            text=st.text("ab好 \n"),
            language=st.sampled_from(["en", "zh", None]),
        ),
        max_size=5,
    )
)
def test_the_texts_of_the_segments_joined_are_the_text(segments: list[Segment]) -> None:
    body = verbose(segments=tuple(segments))
    assert "".join(segment["text"] for segment in body["segments"]).strip() == body["text"]
