"""Transcripts rendered into the bodies that clients get."""

import math
from collections.abc import Callable, Iterable
from string import punctuation
from urllib.parse import quote

from api.schemas.openai import DurationUsage, TranscriptionAnswer
from api.schemas.transcripts import SegmentBody, WarningBody, WordBody
from shared.jobs import Job, WordTimestamps
from shared.transcripts import Segment, Transcript, TranscriptWarning, compose_transcript

# What a header may hold as it is; all else, such as the letters of a folder's name, is percent-encoded.
_HEADER_SAFE = punctuation.replace("%", "") + " "


def transcript_of(job: Job) -> Transcript:
    """The transcript of a job, as far as it is."""
    return compose_transcript(
        job.segments,
        duration_s=job.upload.duration_s,
        warnings=job.warnings,
        is_complete=job.is_complete,
    )


def render_answer(job: Job) -> TranscriptionAnswer:
    """What a synchronous transcription answers; what it does not say is left unset."""
    transcript = transcript_of(job)
    answer = TranscriptionAnswer(
        text=transcript.text,
        language=transcript.language or job.request.language_hint,
        duration=round_to_ms(transcript.duration_s),
        usage=render_usage(transcript.duration_s),
        complete=transcript.is_complete,
        engine=job.engine or "",
        model=job.model or "",
    )
    extra: dict[str, object] = {}
    if job.request.word_timestamps is WordTimestamps.REQUIRED:
        extra["timestamps"] = [word for segment in transcript.segments for word in render_words(segment)]
    if transcript.warnings:
        extra["warnings"] = render_warnings(transcript.warnings)
    return answer.model_copy(update=extra)


def render_usage(duration_s: float) -> DurationUsage:
    """What a request used, in whole seconds begun."""
    return DurationUsage(type="duration", seconds=math.ceil(round_to_ms(duration_s)))


def render_headers(job: Job) -> dict[str, str]:
    """What is said of a transcript beside its text: who made it, and whether it may be wrong."""
    headers = {"X-Engine": _encode_header(job.engine), "X-Model": _encode_header(job.model)}
    if not job.is_complete:
        headers["X-Transcript-Complete"] = "false"
    if job.warnings:
        headers["X-Transcript-Warnings"] = str(len(job.warnings))
    return headers


def render_segment(segment: Segment) -> SegmentBody:
    """A segment; its words are left unset where it has none."""
    start, end = round_to_ms(segment.start_s), round_to_ms(segment.end_s)
    body = SegmentBody(start=start, end=end, text=segment.text.strip(), language=segment.language)
    return body.model_copy(update={"words": render_words(segment)}) if segment.words else body


def render_words(segment: Segment, spell: Callable[[str], str] = str.strip) -> list[WordBody]:
    """The words of a segment, each as `spell` makes it of its text."""
    return [
        WordBody(word=spell(word.text), start=round_to_ms(word.start_s), end=round_to_ms(word.end_s))
        for word in segment.words
    ]


def render_warnings(warnings: Iterable[TranscriptWarning]) -> list[WarningBody]:
    """The warnings about a transcript."""
    return [
        WarningBody(
            code=warning.code,
            message=warning.message,
            start=round_to_ms(warning.start_s),
            end=round_to_ms(warning.end_s),
        )
        for warning in warnings
    ]


def round_to_ms(seconds: float) -> float:
    """Seconds with three decimals."""
    return round(seconds, 3)


def _encode_header(name: str | None) -> str:
    return quote(name or "", safe=_HEADER_SAFE)
