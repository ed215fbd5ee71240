"""Jobs and transcripts rendered into the bodies that clients get."""

import math
from datetime import UTC, datetime

from api.schemas import (
    DurationUsage,
    JobBody,
    JobErrorBody,
    ProgressBody,
    SegmentBody,
    TimingsBody,
    TranscriptBody,
    TranscriptionAnswer,
    WordBody,
)
from shared.jobs import Job, JobState, WordTimes
from shared.transcripts import Segment, Transcript, compose_transcript


def transcript_of(job: Job) -> Transcript:
    """The transcript of a job, as far as it is."""
    return compose_transcript(
        job.segments,
        duration_s=job.upload.duration_s,
        warnings=job.warnings,
    )


def render_answer(job: Job) -> TranscriptionAnswer:
    """What a synchronous transcription answers; what it does not say is left unset."""
    transcript = transcript_of(job)
    answer = TranscriptionAnswer(
        text=transcript.text,
        language=transcript.language or job.request.language_hint,
        duration=_round_to_ms(transcript.duration_s),
        usage=DurationUsage(type="duration", seconds=math.ceil(_round_to_ms(transcript.duration_s))),
    )
    extra: dict[str, object] = {}
    if job.request.word_times is WordTimes.REQUIRED:
        extra["timestamps"] = [word for segment in transcript.segments for word in render_words(segment)]
    if transcript.warnings:
        extra["warnings"] = list(transcript.warnings)
    return answer.model_copy(update=extra)


def render_job(job: Job) -> JobBody:
    """A job as it stands."""
    return JobBody(
        id=job.job_id,
        state=job.state,
        priority=job.priority.value,
        position=job.position,
        attempt=job.attempt,
        progress=_render_progress(job),
        timings=_render_timings(job),
        error=JobErrorBody(code=job.failure.code, message=job.failure.message) if job.failure else None,
        transcript=_render_transcript(job) if job.state is JobState.SUCCEEDED else None,
    )


def render_segment(segment: Segment) -> SegmentBody:
    """A segment; its words are left unset where it has none."""
    start, end = _round_to_ms(segment.start_s), _round_to_ms(segment.end_s)
    body = SegmentBody(start=start, end=end, text=segment.text.strip(), language=segment.language)
    return body.model_copy(update={"words": render_words(segment)}) if segment.words else body


def render_words(segment: Segment) -> list[WordBody]:
    """The words of a segment."""
    return [
        WordBody(word=word.text.strip(), start=_round_to_ms(word.start_s), end=_round_to_ms(word.end_s))
        for word in segment.words
    ]


def _render_transcript(job: Job) -> TranscriptBody:
    transcript = transcript_of(job)
    return TranscriptBody(
        text=transcript.text,
        language=transcript.language or job.request.language_hint,
        duration=_round_to_ms(transcript.duration_s),
        segments=[render_segment(segment) for segment in transcript.segments],
        warnings=list(transcript.warnings),
    )


def _render_progress(job: Job) -> ProgressBody:
    duration_s = job.upload.duration_s
    # Behind the last window may be silence, which makes no window.
    processed_s = duration_s if job.state is JobState.SUCCEEDED else job.processed_s
    return ProgressBody(processed_s=processed_s, duration_s=duration_s)


def _render_timings(job: Job) -> TimingsBody:
    return TimingsBody(
        created_at=_to_datetime(job.created_ms),
        started_at=_to_datetime(job.started_ms) if job.started_ms is not None else None,
        finished_at=_to_datetime(job.finished_ms) if job.finished_ms is not None else None,
    )


def _round_to_ms(seconds: float) -> float:
    return round(seconds, 3)


def _to_datetime(server_ms: int) -> datetime:
    return datetime.fromtimestamp(server_ms / 1000, UTC)
