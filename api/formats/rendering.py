"""Transcripts rendered into JSON bodies and headers."""

import math
import unicodedata
import zlib
from collections.abc import Callable, Collection, Iterable
from string import punctuation
from urllib.parse import quote

from api.formats.response_format import Granularity
from api.schemas.openai import DurationUsage, TranscriptionAnswer, VerboseSegment, VerboseTranscription
from api.schemas.transcripts import SegmentBody, WarningBody, WordBody
from shared.jobs import Job, WordTimestamps
from shared.languages import language_name
from shared.transcripts import (
    UNSPACED_LANGUAGES,
    Segment,
    SegmentDecoding,
    Transcript,
    TranscriptWarning,
    WarningCode,
    compose_transcript,
)

# These characters stay in a header; others, such as letters of a folder name, are percent-encoded.
_HEADER_SAFE = punctuation.replace("%", "") + " "

# Some engines report no decoding details, and OpenAI's clients accept no null here.
_NO_DETAILS = SegmentDecoding(
    tokens=(), temperature=0.0, avg_logprob=0.0, no_speech_prob=0.0, window_start_s=0.0
)

# Whisper counts `seek` in frames.
_FRAMES_PER_S = 100


def transcript_of(job: Job) -> Transcript:
    """Return the transcript of a job so far."""
    return compose_transcript(
        job.segments,
        duration_s=job.upload.duration_s,
        warnings=warnings_of(job),
        is_complete=job.is_complete,
    )


def warnings_of(job: Job) -> tuple[TranscriptWarning, ...]:
    """Return the warnings about a transcript so far, and about its file."""
    if not job.upload.has_trailing_data:
        return job.warnings
    end_s = job.upload.duration_s
    message = (
        "Other media follow the sound in this file. They were not read: send them in a file of their own."
    )
    return (*job.warnings, TranscriptWarning(WarningCode.TRAILING_DATA, message, end_s, end_s))


def render_answer(job: Job) -> TranscriptionAnswer:
    """Render the answer to a synchronous transcription; absent fields stay unset."""
    transcript = transcript_of(job)
    answer = TranscriptionAnswer(
        text=transcript.text,
        language=transcript.language or job.request.language_hint,
        duration=round_to_ms(transcript.duration_s),
        usage=_render_usage(transcript.duration_s),
        complete=transcript.is_complete,
        engine=job.engine or "",
        model=job.model or "",
    )
    extra: dict[str, object] = {}
    if job.request.word_timestamps is WordTimestamps.REQUIRED:
        extra["timestamps"] = _render_words(transcript.segments)
    if transcript.warnings:
        extra["warnings"] = render_warnings(transcript.warnings)
    return answer.model_copy(update=extra)


def render_verbose(job: Job, granularities: Collection[Granularity]) -> VerboseTranscription:
    """Render `verbose_json`, with segments unless only words are requested; absent fields stay unset."""
    transcript = transcript_of(job)
    language = transcript.language or job.request.language_hint
    extra: dict[str, object] = {}
    if Granularity.SEGMENT in granularities or not granularities:
        extra["segments"] = [
            _render_verbose_segment(number, segment) for number, segment in enumerate(transcript.segments)
        ]
    if Granularity.WORD in granularities:
        extra["words"] = _render_words(transcript.segments, _strip_punctuation)
    if transcript.warnings:
        extra["warnings"] = render_warnings(transcript.warnings)
    return VerboseTranscription(
        task="transcribe",
        language=language_name(language).lower() if language else "",
        duration=round_to_ms(transcript.duration_s),
        text=transcript.text,
        usage=_render_usage(transcript.duration_s),
        complete=transcript.is_complete,
        engine=job.engine or "",
        model=job.model or "",
    ).model_copy(update=extra)


def _render_usage(duration_s: float) -> DurationUsage:
    return DurationUsage(type="duration", seconds=math.ceil(round_to_ms(duration_s)))


def render_headers(job: Job) -> dict[str, str]:
    """Return headers with the engine, the model and the completeness of a transcript."""
    headers = {"X-Engine": _encode_header(job.engine), "X-Model": _encode_header(job.model)}
    if not job.is_complete:
        headers["X-Transcript-Complete"] = "false"
    if warnings := warnings_of(job):
        headers["X-Transcript-Warnings"] = str(len(warnings))
    return headers


def render_segment(segment: Segment) -> SegmentBody:
    """Render a segment; `words` stays unset if it has none."""
    start, end = round_to_ms(segment.start_s), round_to_ms(segment.end_s)
    body = SegmentBody(start=start, end=end, text=segment.text.strip(), language=segment.language)
    return body.model_copy(update={"words": _render_words([segment])}) if segment.words else body


def _render_words(segments: Iterable[Segment], spell: Callable[[str], str] = str.strip) -> list[WordBody]:
    return [
        WordBody(word=spell(word.text), start=round_to_ms(word.start_s), end=round_to_ms(word.end_s))
        for segment in segments
        for word in segment.words
    ]


def render_warnings(warnings: Iterable[TranscriptWarning]) -> list[WarningBody]:
    """Render the warnings about a transcript."""
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
    """Round seconds to three decimals."""
    return round(seconds, 3)


def _encode_header(name: str | None) -> str:
    return quote(name or "", safe=_HEADER_SAFE)


def _render_verbose_segment(number: int, segment: Segment) -> VerboseSegment:
    decoding = segment.decoding or _NO_DETAILS
    text = segment.text.strip()
    return VerboseSegment(
        id=number,
        seek=round(decoding.window_start_s * _FRAMES_PER_S),
        start=round_to_ms(segment.start_s),
        end=round_to_ms(segment.end_s),
        text=f" {text}" if text and segment.language not in UNSPACED_LANGUAGES else text,
        tokens=list(decoding.tokens),
        temperature=_to_finite(decoding.temperature),
        avg_logprob=_to_finite(decoding.avg_logprob),
        compression_ratio=_measure_compression(text),
        no_speech_prob=_to_finite(decoding.no_speech_prob),
    )


def _strip_punctuation(text: str) -> str:
    """Return the word without punctuation at its ends, as OpenAI sends it."""
    word = text.strip()
    if word.isalnum():  # nearly always
        return word
    kept = [index for index, character in enumerate(word) if unicodedata.category(character)[0] != "P"]
    return word[kept[0] : kept[-1] + 1] if kept else word


def _measure_compression(text: str) -> float:
    """Return the compression ratio by Whisper's formula."""
    raw = text.encode()
    return round(len(raw) / len(zlib.compress(raw)), 4) if raw else 0.0


def _to_finite(number: float) -> float:
    # JSON has no NaN, and OpenAI's Node client fails on one.
    return number if math.isfinite(number) else 0.0
