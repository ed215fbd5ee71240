"""Transcripts as subtitles, in SubRip (SRT) and WebVTT."""

import html
import re
from collections.abc import Iterable

from api.formats.cues import READABLE, Cue, CueRules, cut_cues
from shared.transcripts import Transcript

# What a reader would take for a line of times.
_ARROW = re.compile("-{2,}>")


def render_srt(transcript: Transcript, rules: CueRules = READABLE) -> str:
    """The transcript in SRT; empty where nothing is spoken. Ends, as OpenAI's does, with one more newline."""
    cues = "".join(
        f"{number}\n{_format_times(cue, ',')}\n{_arrowless(cue.lines)}\n\n"
        for number, cue in enumerate(cut_cues(transcript, rules), 1)
    )
    return f"{cues}\n" if cues else ""


def render_vtt(transcript: Transcript, rules: CueRules = READABLE) -> str:
    """The transcript in WebVTT; only its header where nothing is spoken."""
    cues = (
        f"{_format_times(cue, '.')}\n{html.escape(_arrowless(cue.lines), quote=False)}\n\n"
        for cue in cut_cues(transcript, rules)
    )
    return "WEBVTT\n\n" + "".join(cues)


def format_time(time_ms: int, point: str) -> str:
    """`HH:MM:SS` and the milliseconds behind `point`; more than 99 hours take more digits."""
    total_s, ms = divmod(time_ms, 1000)
    total_min, s = divmod(total_s, 60)
    hours, minutes = divmod(total_min, 60)
    return f"{hours:02}:{minutes:02}:{s:02}{point}{ms:03}"


def _format_times(cue: Cue, point: str) -> str:
    return f"{format_time(cue.start_ms, point)} --> {format_time(cue.end_ms, point)}"


def _arrowless(lines: Iterable[str]) -> str:
    return "\n".join(_ARROW.sub("->", line) for line in lines)
