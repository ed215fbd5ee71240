"""The transcript of a job in each format that clients can request."""

import html
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from api.formats.cues import Cue, cut_cues
from api.formats.rendering import render_answer, render_verbose, transcript_of
from api.formats.response_format import Granularity, ResponseFormat
from shared.jobs import Job
from shared.transcripts import Transcript

JSON = "application/json"
PLAIN_TEXT = "text/plain; charset=utf-8"
"""OpenAI sends this type for all other formats, subtitles included, and its clients check it."""

# Subtitle readers would take longer arrows for a line of times.
_ARROW = re.compile("-{2,}>")


class RenderedTranscript(NamedTuple):
    """A body and its media type."""

    body: str
    media_type: str


def render_transcript(
    job: Job, shape: ResponseFormat, granularities: Collection[Granularity] = ()
) -> RenderedTranscript:
    """Render the transcript of a job so far; only `verbose_json` uses `granularities`."""
    match shape:
        case ResponseFormat.JSON:
            return RenderedTranscript(render_answer(job).model_dump_json(exclude_unset=True), JSON)
        case ResponseFormat.VERBOSE_JSON:
            verbose = render_verbose(job, granularities)
            return RenderedTranscript(verbose.model_dump_json(exclude_unset=True), JSON)
        case ResponseFormat.TEXT:
            return RenderedTranscript(f"{transcript_of(job).text}\n", PLAIN_TEXT)
        case ResponseFormat.SRT:
            return RenderedTranscript(render_srt(transcript_of(job)), PLAIN_TEXT)
        case ResponseFormat.VTT:
            return RenderedTranscript(render_vtt(transcript_of(job)), PLAIN_TEXT)


def render_srt(transcript: Transcript) -> str:
    """Render SubRip, empty for silence. Like OpenAI's, it ends with an extra newline."""
    cues = "".join(
        f"{number}\n{_format_interval(cue, ',')}\n{_replace_arrows(cue.lines)}\n\n"
        for number, cue in enumerate(cut_cues(transcript), 1)
    )
    return f"{cues}\n" if cues else ""


def render_vtt(transcript: Transcript) -> str:
    """Render WebVTT, only its header for silence."""
    cues = (
        f"{_format_interval(cue, '.')}\n{html.escape(_replace_arrows(cue.lines), quote=False)}\n\n"
        for cue in cut_cues(transcript)
    )
    return "WEBVTT\n\n" + "".join(cues)


def format_time(time_ms: int, point: str) -> str:
    """Return `HH:MM:SS`, `point` and the milliseconds; more than 99 hours take more digits."""
    total_s, ms = divmod(time_ms, 1000)
    total_min, s = divmod(total_s, 60)
    hours, minutes = divmod(total_min, 60)
    return f"{hours:02}:{minutes:02}:{s:02}{point}{ms:03}"


def _format_interval(cue: Cue, point: str) -> str:
    return f"{format_time(cue.start_ms, point)} --> {format_time(cue.end_ms, point)}"


def _replace_arrows(lines: Iterable[str]) -> str:
    return "\n".join(_ARROW.sub("->", line) for line in lines)
