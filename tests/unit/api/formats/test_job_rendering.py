"""A job names the language that was detected, beside the one that was requested."""

import msgspec
import pytest

from api.formats.job_rendering import render_job
from shared.jobs import JobState, TranscriptionRequest
from shared.transcripts import Segment
from tests.support.finished_job import make_finished_job

GERMAN = (Segment(0.0, 2.0, "Guten Tag.", "de"), Segment(2.0, 3.0, "Hello.", "en"))


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.SUCCEEDED, JobState.CANCELLED])
@pytest.mark.parametrize("hint", [None, "de"])
def test_the_language_is_that_of_the_most_speech(state: JobState, hint: str | None) -> None:
    request = TranscriptionRequest(language_hint=hint)
    job = msgspec.structs.replace(make_finished_job(*GERMAN), state=state, request=request)

    body = render_job(job)

    assert (body.language, body.language_hint) == ("de", hint)


def test_before_the_first_window_it_is_that_of_the_request() -> None:
    request = TranscriptionRequest(language_hint="fr")
    job = msgspec.structs.replace(make_finished_job(), state=JobState.RUNNING, request=request)

    assert render_job(job).language == "fr"
