"""Jobs are rendered as clients expect them: nothing is left out that was asked for, nothing added."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api.formats.job_rendering import render_job
from api.formats.rendering import render_answer, render_headers
from shared.capabilities import ModelState
from shared.jobs import Failure, FailureCode, JobState, TranscriptionRequest, WordTimestamps
from shared.transcripts import Segment, TranscriptWarning, WarningCode, Word
from tests.support.finished_job import make_finished_job

WORDS = (Word(0.0, 0.4, "Hello"), Word(0.5, 1.0, "there."))
JOB = make_finished_job(
    Segment(0.0, 1.0, "Hello there.", "en", WORDS),
    Segment(2.0, 3.0, "Ciao.", "it"),
    engine="qwen3",
    model="Qwen/Qwen3-ASR-0.6B",
    attempt=2,
)


def answer_of(**changes: Any) -> dict[str, Any]:
    return render_answer(msgspec.structs.replace(JOB, **changes)).model_dump(exclude_unset=True)


def body_of(**changes: Any) -> dict[str, Any]:
    return render_job(msgspec.structs.replace(JOB, **changes)).model_dump(exclude_unset=True)


def test_an_answer_says_text_language_duration_and_usage_and_no_more() -> None:
    assert answer_of() == {
        "text": "Hello there. Ciao.",
        "language": "en",
        "duration": 8.2,
        "usage": {"type": "duration", "seconds": 9},
        "complete": True,
        "engine": "qwen3",
        "model": "Qwen/Qwen3-ASR-0.6B",
    }


def test_timestamps_are_there_if_and_only_if_they_were_asked_for() -> None:
    asked = TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)
    assert answer_of(request=asked)["timestamps"] == [
        {"word": "Hello", "start": 0.0, "end": 0.4},
        {"word": "there.", "start": 0.5, "end": 1.0},
    ]
    assert answer_of(request=asked, segments=())["timestamps"] == []


def test_warnings_are_told_with_their_time_to_the_millisecond() -> None:
    warning = TranscriptWarning(WarningCode.REPETITION, "It was repeated.", 1.23456, 2.0)
    told = [{"code": "repetition", "message": "It was repeated.", "start": 1.235, "end": 2.0}]
    assert answer_of(warnings=(warning,))["warnings"] == told
    assert body_of(warnings=(warning,))["transcript"]["warnings"] == told


def test_a_transcript_that_may_lack_speech_is_not_complete() -> None:
    assert answer_of(is_complete=False)["complete"] is False
    assert body_of(is_complete=False)["transcript"]["complete"] is False


def test_headers_name_engine_and_model_and_no_more_where_all_is_well() -> None:
    assert render_headers(JOB) == {"X-Engine": "qwen3", "X-Model": "Qwen/Qwen3-ASR-0.6B"}


def test_a_job_names_the_engine_once_a_worker_took_it() -> None:
    assert (body_of()["engine"], body_of()["model"]) == ("qwen3", "Qwen/Qwen3-ASR-0.6B")
    waiting = body_of(state=JobState.QUEUED, engine=None, model=None)
    assert (waiting["engine"], waiting["model"]) == (None, None)


def test_silence_is_an_empty_text_in_the_language_that_was_asked_for() -> None:
    answer = answer_of(segments=(), request=TranscriptionRequest(language_hint="de"))
    assert (answer["text"], answer["language"]) == ("", "de")
    assert answer_of(segments=())["language"] is None


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (None, None),
        (ModelState.ABSENT, "cold"),
        (ModelState.DEAD, "cold"),
        (ModelState.LOADING, "loading"),
        (ModelState.READY, "warm"),
        (ModelState.BUSY, "warm"),
    ],
)
def test_a_model_is_cold_loading_or_warm(state: ModelState | None, shown: str | None) -> None:
    assert body_of(state=JobState.QUEUED, model_state=state)["model_state"] == shown


def test_a_job_shows_its_state_progress_and_times() -> None:
    body = body_of(state=JobState.RUNNING, processed_s=4.0, finished_ms=None, inference_ms=1_500)
    assert (body["state"], body["attempt"], body["position"]) == ("running", 2, None)
    assert body["progress"] == {"processed_s": 4.0, "duration_s": 8.2}
    assert body["timings"] == {
        "created_at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "started_at": datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
        "finished_at": None,
        "inference_s": 1.5,
    }
    assert body["transcript"] is None
    assert body["error"] is None


def test_a_job_that_succeeded_shows_its_segments_with_words_where_there_are_any() -> None:
    transcript = body_of()["transcript"]
    assert transcript["text"] == "Hello there. Ciao."
    first, second = transcript["segments"]
    assert first["words"][0] == {"word": "Hello", "start": 0.0, "end": 0.4}
    assert second == {"start": 2.0, "end": 3.0, "text": "Ciao.", "language": "it"}


def test_a_job_that_failed_says_why() -> None:
    body = body_of(state=JobState.FAILED, failure=Failure(FailureCode.TIMEOUT, "too slow"))
    assert body["error"] == {"code": "timeout", "message": "too slow"}
    assert body["transcript"] is None
