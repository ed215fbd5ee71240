"""The transcript of a job in each of the formats that clients can ask for."""

from collections.abc import Collection
from typing import NamedTuple

from api.formats.rendering import render_answer, transcript_of
from api.formats.response_format import Granularity, ResponseFormat
from api.formats.subtitles import render_srt, render_vtt
from api.formats.verbose_rendering import render_verbose
from shared.jobs import Job

JSON = "application/json"
PLAIN_TEXT = "text/plain; charset=utf-8"
"""OpenAI's type of everything that is no JSON, subtitles too: its clients look at it."""


class RenderedTranscript(NamedTuple):
    """A body and its media type."""

    body: str
    media_type: str


def render_transcript(
    job: Job, shape: ResponseFormat, granularities: Collection[Granularity] = ()
) -> RenderedTranscript:
    """The transcript of a job that has succeeded; `granularities` count for `verbose_json` alone."""
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
