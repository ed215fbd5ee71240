"""Transcripts as OpenAI's `verbose_json`: all that is known of segments and words."""

import math
import unicodedata
import zlib
from collections.abc import Collection

from api.formats.rendering import render_usage, render_warnings, render_words, round_to_ms, transcript_of
from api.formats.response_format import Granularity
from api.schemas.openai import VerboseSegment, VerboseTranscription
from shared.jobs import Job
from shared.languages import language_name
from shared.transcripts import UNSPACED_LANGUAGES, Segment, SegmentDecoding

# What an engine says that tells nothing of its decoding: OpenAI's clients know no null here.
_UNTOLD = SegmentDecoding(tokens=(), temperature=0.0, avg_logprob=0.0, no_speech_prob=0.0, window_start_s=0.0)

# The frames of Whisper, in which `seek` counts.
_FRAMES_PER_S = 100


def render_verbose(job: Job, granularities: Collection[Granularity]) -> VerboseTranscription:
    """What `verbose_json` says of a job: segments unless only words are asked for; the rest is left unset."""
    transcript = transcript_of(job)
    language = transcript.language or job.request.language_hint
    extra: dict[str, object] = {}
    if Granularity.SEGMENT in granularities or not granularities:
        extra["segments"] = [
            _render_segment(number, segment) for number, segment in enumerate(transcript.segments)
        ]
    if Granularity.WORD in granularities:
        extra["words"] = [
            word for segment in transcript.segments for word in render_words(segment, _strip_punctuation)
        ]
    if transcript.warnings:
        extra["warnings"] = render_warnings(transcript.warnings)
    return VerboseTranscription(
        task="transcribe",
        language=language_name(language).lower() if language else "",
        duration=round_to_ms(transcript.duration_s),
        text=transcript.text,
        usage=render_usage(transcript.duration_s),
        complete=transcript.is_complete,
        engine=job.engine or "",
        model=job.model or "",
    ).model_copy(update=extra)


def _render_segment(number: int, segment: Segment) -> VerboseSegment:
    decoding = segment.decoding or _UNTOLD
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
    """The word from its first to its last character that is no punctuation, as OpenAI sends it."""
    word = text.strip()
    if word.isalnum():  # nearly always
        return word
    kept = [index for index, character in enumerate(word) if unicodedata.category(character)[0] != "P"]
    return word[kept[0] : kept[-1] + 1] if kept else word


def _measure_compression(text: str) -> float:
    """As Whisper does it."""
    raw = text.encode()
    return round(len(raw) / len(zlib.compress(raw)), 4) if raw else 0.0


def _to_finite(number: float) -> float:
    # JSON has no NaN, and OpenAI's client for Node breaks over one.
    return number if math.isfinite(number) else 0.0
