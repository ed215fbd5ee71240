"""Jobs rendered into JSON bodies, with the transcript of a succeeded job."""

from datetime import UTC, datetime
from typing import Literal

from api.formats.rendering import render_segment, render_warnings, round_to_ms, transcript_of
from api.schemas.jobs import (
    DeliveryBody,
    JobBody,
    JobErrorBody,
    ListedJobBody,
    ProgressBody,
    TimingsBody,
)
from api.schemas.transcripts import TranscriptBody
from shared.capabilities import ModelState
from shared.jobs import DeliveryAttempt, Job, JobState
from shared.transcripts import main_language

_MS_PER_S = 1_000


def render_job(job: Job) -> JobBody:
    """Render the current state of a job."""
    transcript = _render_transcript(job) if job.state is JobState.SUCCEEDED else None
    deliveries = [_render_attempt(tried) for tried in job.deliveries]
    listed = dict(render_listed_job(job))
    listed["language"] = main_language(job.segments) or job.request.language_hint
    return JobBody(**listed, deliveries=deliveries, transcript=transcript)


def render_listed_job(job: Job) -> ListedJobBody:
    """Render the current state of a job without its transcript."""
    return ListedJobBody(
        id=job.job_id,
        state=job.state,
        cancel_requested=job.is_cancel_requested,
        priority=job.priority.value,
        position=job.position,
        eta_s=job.eta_s,
        attempt=job.attempt,
        engine=job.engine,
        model=job.model,
        model_state=_name_model_state(job.model_state),
        language=job.request.language_hint,
        language_hint=job.request.language_hint,
        filename=job.upload.filename,
        metadata=job.metadata,
        progress=_render_progress(job),
        timings=_render_timings(job),
        error=JobErrorBody(code=job.failure.code, message=job.failure.message) if job.failure else None,
    )


def _name_model_state(state: ModelState | None) -> Literal["cold", "loading", "warm"] | None:
    if state is None:
        return None
    if state.is_loaded:
        return "warm"
    return "loading" if state is ModelState.LOADING else "cold"


def _render_attempt(made: DeliveryAttempt) -> DeliveryBody:
    return DeliveryBody(
        at=_to_datetime(made.at_ms),
        attempt=made.attempt,
        status=made.outcome.status,
        error=made.outcome.error,
        next_at=_to_datetime(made.next_ms) if made.next_ms is not None else None,
    )


def _render_transcript(job: Job) -> TranscriptBody:
    transcript = transcript_of(job)
    return TranscriptBody(
        text=transcript.text,
        language=transcript.language or job.request.language_hint,
        duration=round_to_ms(transcript.duration_s),
        segments=[render_segment(segment) for segment in transcript.segments],
        complete=transcript.is_complete,
        warnings=render_warnings(transcript.warnings),
    )


def _render_progress(job: Job) -> ProgressBody:
    duration_s = job.upload.duration_s
    # Silence after the last window makes no window.
    processed_s = duration_s if job.state is JobState.SUCCEEDED else min(job.processed_s, duration_s)
    return ProgressBody(processed_s=processed_s, duration_s=duration_s)


def _render_timings(job: Job) -> TimingsBody:
    return TimingsBody(
        created_at=_to_datetime(job.created_ms),
        started_at=_to_datetime(job.started_ms) if job.started_ms is not None else None,
        finished_at=_to_datetime(job.finished_ms) if job.finished_ms is not None else None,
        inference_s=job.inference_ms / _MS_PER_S,
    )


def _to_datetime(server_ms: int) -> datetime:
    return datetime.fromtimestamp(server_ms / _MS_PER_S, UTC)
