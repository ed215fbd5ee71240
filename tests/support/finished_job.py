"""A job that has succeeded, as the record tells it, for tests of how jobs are rendered."""

from shared.jobs import Endpoint, Job, JobState, Priority, TranscriptionRequest, Upload
from shared.transcripts import Segment


def make_finished_job(
    *segments: Segment, engine: str = "whisper", model: str = "base", attempt: int = 1
) -> Job:
    """A job of 8.2 s of audio with these segments."""
    return Job(
        job_id="7",
        state=JobState.SUCCEEDED,
        endpoint=Endpoint.SYNC,
        priority=Priority.INTERACTIVE,
        upload=Upload("7", "a.wav", 10, "ab", 8.2),
        request=TranscriptionRequest(),
        attempt=attempt,
        created_ms=1_000,
        started_ms=2_000,
        finished_ms=3_500,
        processed_s=8.2,
        failure=None,
        position=None,
        engine=engine,
        model=model,
        segments=segments,
    )
