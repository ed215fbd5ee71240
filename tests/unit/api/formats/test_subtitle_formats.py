"""Subtitles are what players read: FFmpeg, and a parser written in Python, find in them what was said."""

import html
import io
import re

import av
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from api.formats.cues import cut_cues, to_ms
from api.formats.transcript_formats import format_time, render_srt, render_vtt
from shared.transcripts import Segment, Transcript, Word, compose_transcript

HALF_A_MS = 0.0005
# More than a hundred hours.
SECONDS = st.floats(0, 400_000)

# Start, end and text, as a parser finds them; milliseconds.
ReadCue = tuple[int, int, str]


def transcript_of(*segments: Segment, duration_s: float = 60) -> Transcript:
    return compose_transcript(segments, duration_s=duration_s)


def spoken(text: str, start_s: float = 1, end_s: float = 3, language: str = "en") -> Transcript:
    return transcript_of(Segment(start_s, end_s, text, language), duration_s=end_s)


def spoken_words(text: str, times: str) -> Transcript:
    """A transcript whose words, without their punctuation, start at `times`, and last till the next one."""
    words = re.findall(r"[\w']+", text)
    starts_s = [float(start) for start in times.split()]
    timed = tuple(
        Word(start_s, end_s - 0.05, word)
        for word, start_s, end_s in zip(words, starts_s[:-1], starts_s[1:], strict=True)
    )
    return transcript_of(Segment(starts_s[0], starts_s[-1], text, "en", timed))


def read_by_ffmpeg(body: str, kind: str) -> list[ReadCue]:
    with av.open(io.BytesIO(body.encode()), "r", format=kind) as container:
        return [
            (packet.pts, packet.pts + packet.duration, bytes(packet).decode())
            for packet in container.demux()
            if packet.size and packet.pts is not None and packet.duration is not None
        ]


def read_by_webvtt(body: str, kind: str) -> list[ReadCue]:
    parsed = webvtt.WebVTT.from_buffer(io.StringIO(body), format=kind)
    return [(ms_of(caption.start), ms_of(caption.end), caption.raw_text) for caption in parsed.captions]


def ms_of(timestamp: str) -> int:
    hours, minutes, seconds = timestamp.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + to_ms(float(seconds))


def test_a_conversation_with_words_is_this_srt() -> None:
    text = (
        "Good evening, and welcome to the programme. Tonight we talk to Mr. Baker about his garden. "
        "Is it a large one? It is."
    )
    times = (
        "0.5 0.9 1.5 1.7 2.1 2.3 2.5 3.6 4.0 4.2 4.5 4.7 5.0 5.5 5.9 6.2 7.1 7.3 7.4 7.5 7.9 9.8 10.0 10.3"
    )
    assert (
        render_srt(spoken_words(text, times))
        == """\
1
00:00:00,500 --> 00:00:03,550
Good evening,
and welcome to the programme.

2
00:00:03,600 --> 00:00:10,250
Tonight we talk to Mr. Baker about
his garden. Is it a large one? It is.


"""
    )


def test_chinese_without_words_is_this_vtt() -> None:
    text = "大家好，欢迎收听今天的节目。今天我们和王先生一起聊一聊他的花园，他已经打理了四十多年。谢谢！"
    assert (
        render_vtt(spoken(text, 0, 12, "zh"))
        == """\
WEBVTT

00:00:00.000 --> 00:00:03.652
大家好，欢迎收听今天的节目。

00:00:03.652 --> 00:00:08.348
今天我们和王先生一起聊一聊他的花园，

00:00:08.348 --> 00:00:12.000
他已经打理了四十多年。谢谢！

"""
    )


def test_a_long_sentence_is_this_srt() -> None:
    text = (
        "what nobody had told us when we rented the house by the lake was that every morning at six "
        "the geese would come up to the kitchen door and wait there until somebody gave them bread"
    )
    assert (
        render_srt(spoken(text, 3600, 3612))
        == """\
1
01:00:00,000 --> 01:00:03,972
what nobody had told us when
we rented the house by the lake

2
01:00:03,972 --> 01:00:07,945
was that every morning at six
the geese would come up to the

3
01:00:07,945 --> 01:00:12,000
kitchen door and wait there
until somebody gave them bread


"""
    )


def test_silence_is_an_empty_srt_and_a_vtt_of_its_header() -> None:
    assert render_srt(transcript_of()) == ""
    assert render_vtt(transcript_of()) == "WEBVTT\n\n"


def test_an_arrow_in_the_text_is_no_line_of_times() -> None:
    transcript = spoken("from here --> to there ---> and on")
    assert "from here -> to there -> and on" in render_srt(transcript)
    assert "from here -&gt; to there -&gt; and on" in render_vtt(transcript)


def test_vtt_escapes_what_would_be_markup() -> None:
    assert "R&amp;D &lt;b&gt; &amp;lt;" in render_vtt(spoken("R&D <b> &lt;"))
    assert "R&D <b> &lt;" in render_srt(spoken("R&D <b> &lt;"))


@pytest.mark.parametrize(
    ("seconds", "time"),
    [
        (0, "00:00:00,000"),
        (0.0004, "00:00:00,000"),
        (59.9994, "00:00:59,999"),
        (59.9996, "00:01:00,000"),
        (3599.9999, "01:00:00,000"),
        (3723.045, "01:02:03,045"),
        (360_000, "100:00:00,000"),
    ],
)
def test_times_are_rounded_before_they_are_split(seconds: float, time: str) -> None:
    assert format_time(to_ms(seconds), ",") == time


@settings(deadline=None)
@given(start_s=SECONDS, duration_s=st.floats(1, 6.9))
def test_times_are_read_back_to_half_a_millisecond(start_s: float, duration_s: float) -> None:
    transcript = spoken("Yes.", start_s, start_s + duration_s)
    readings = (
        read_by_ffmpeg(render_srt(transcript), "srt"),
        read_by_ffmpeg(render_vtt(transcript), "webvtt"),
        read_by_webvtt(render_srt(transcript), "srt"),
        read_by_webvtt(render_vtt(transcript), "vtt"),
    )
    for ((start_ms, end_ms, text),) in readings:
        assert text == "Yes."
        assert start_ms / 1000 == pytest.approx(start_s, abs=HALF_A_MS * 1.001)
        assert end_ms / 1000 == pytest.approx(start_s + duration_s, abs=HALF_A_MS * 1.001)


# Without control characters: parsers differ in what they make of them.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["C"]), max_size=200),
    st.text("ab12.,<>&->\n\r\u2028é\u0301花。「」 ", max_size=200),
    st.lists(
        st.sampled_from(["-->", "1", "\n\n", "<i>", "&amp;", "WEBVTT", "NOTE", "STYLE", "00:00:01.000"])
    ).map(" ".join),
)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_both_formats_are_read_back_as_the_cues_they_were_written_from(texts: list[str]) -> None:
    transcript = transcript_of(*(Segment(9 * n, 9 * n + 8, text, "en") for n, text in enumerate(texts)))
    cues = [
        (cue.start_ms, cue.end_ms, re.sub("-{2,}>", "->", "\n".join(cue.lines)))
        for cue in cut_cues(transcript)
    ]
    subrip, vtt = render_srt(transcript), render_vtt(transcript)
    assert read_by_ffmpeg(subrip, "srt") == cues
    assert not subrip or read_by_webvtt(subrip, "srt") == cues  # it takes no empty SRT
    assert unescaped(read_by_ffmpeg(vtt, "webvtt")) == cues
    assert unescaped(read_by_webvtt(vtt, "vtt")) == cues


def unescaped(cues: list[ReadCue]) -> list[ReadCue]:
    return [(start_ms, end_ms, html.unescape(text)) for start_ms, end_ms, text in cues]


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_srt_numbers_its_cues_and_ends_with_two_empty_lines(texts: list[str]) -> None:
    transcript = transcript_of(*(Segment(9 * n, 9 * n + 8, text, "en") for n, text in enumerate(texts)))
    body = render_srt(transcript)
    blocks = body.split("\n\n")[:-1]
    assert [block.split("\n")[0] for block in blocks] == [
        str(n + 1) for n in range(len(cut_cues(transcript)))
    ]
    assert not body or body.endswith("\n\n\n")
