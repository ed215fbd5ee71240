"""Cues are readable, in order, and hold all of the text, whatever segments and words there are."""

import re
import unicodedata
from itertools import pairwise
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.formats.cue_text import split_units, width_of
from api.formats.cues import Cue, cut_cues, to_ms
from shared.transcripts import Segment, Transcript, Word, compose_transcript

MAX_LINE = 42
MAX_MS = 7000
MIN_MS = 500


def transcript_of(*segments: Segment, duration_s: float = 60) -> Transcript:
    return compose_transcript(segments, duration_s=duration_s)


def cues_of(text: str, language: str = "en", *, seconds: float = 10, words: str = "") -> list[Cue]:
    """The cues of one segment; `words` is a list of `text start end`, separated by commas."""
    spoken = tuple(word_of(entry) for entry in words.split(",") if entry)
    segment = Segment(0, seconds, text, language, spoken)
    return cut_cues(transcript_of(segment, duration_s=max(60, seconds)))


def word_of(entry: str) -> Word:
    text, start_s, end_s = entry.split()
    return Word(float(start_s), float(end_s), text)


def lines_of(text: str, language: str = "en", *, seconds: float = 5) -> list[str]:
    return [line for cue in cues_of(text, language, seconds=seconds) for line in cue.lines]


def times_of(cues: list[Cue]) -> list[tuple[int, int]]:
    return [(cue.start_ms, cue.end_ms) for cue in cues]


def without_spaces(text: str) -> str:
    return "".join(text.split())


def test_a_short_sentence_is_one_line() -> None:
    assert lines_of("This is short.") == ["This is short."]


def test_two_sentences_that_fit_stand_on_two_lines_of_one_cue() -> None:
    (cue,) = cues_of("The first sentence is here. The second one is longer.", seconds=5)
    assert cue.lines == ("The first sentence is here.", "The second one is longer.")


def test_cues_end_with_sentences_rather_than_when_they_are_full() -> None:
    first, second = cues_of(
        "It had rained for most of the day. " + "Nobody left the house, so it was quiet. " * 2
    )
    assert first.lines[-1].endswith(".")
    assert second.lines[-1].endswith(".")


def test_where_no_sentence_ends_a_comma_decides() -> None:
    text = "When the rain had stopped at last, the whole village went out to look at what it had done."
    first, *_ = cues_of(text, seconds=9)
    assert " ".join(first.lines) == "When the rain had stopped at last,"


def test_without_marks_lines_are_about_equally_long() -> None:
    assert lines_of("one two three four five six seven eight nine ten") == [
        "one two three four five",
        "six seven eight nine ten",
    ]


def test_the_second_line_is_not_one_short_word() -> None:
    assert lines_of("forty characters are very nearly one line so")[1] != "so"


def test_a_title_is_not_parted_from_its_name() -> None:
    assert "Mr. Baker about his garden," in lines_of("Tonight we talk to Mr. Baker about his garden,")


def test_a_word_longer_than_a_line_is_cut() -> None:
    assert lines_of("a" * 50) == ["a" * 42, "a" * 8]


def test_punctuation_that_stands_alone_begins_no_line() -> None:
    text = "Il a dit : « Bonjour à toutes et à tous mes amis ! »"
    assert not [line for line in lines_of(text) if line[0] in ":!»" or line[-1] == "«"]


def test_combining_marks_and_joined_emoji_stay_whole() -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"
    accented = "e\N{COMBINING ACUTE ACCENT}"
    assert lines_of(family * 30) == [family * 15] * 2
    assert lines_of(accented * 50) == [accented * 42, accented * 8]


def test_a_language_written_from_right_to_left_keeps_its_order() -> None:
    text = "مرحبا بكم في برنامجنا، نتحدث اليوم عن الحديقة. شكرا لكم."
    assert " ".join(lines_of(text, "ar")) == text


def test_a_line_has_half_as_many_wide_characters() -> None:
    assert lines_of("花" * 30, "zh") == ["花" * 15] * 2
    assert max(map(len, lines_of("花" * 200, "zh"))) <= MAX_LINE // 2


@pytest.mark.parametrize("mark", "。，、！？；：」』）》…ーっゃ々")
def test_no_line_begins_with_what_belongs_to_the_character_before(mark: str) -> None:
    for before in range(15, 24):
        assert not [line for line in lines_of("花" * before + mark + "花" * 20, "ja") if line[0] == mark]


@pytest.mark.parametrize("mark", "「『（《“")
def test_no_line_ends_with_an_opening_mark(mark: str) -> None:
    for before in range(15, 24):
        assert not [line for line in lines_of("花" * before + mark + "花" * 20, "zh") if line[-1] == mark]


def test_latin_words_and_numbers_in_it_are_not_broken() -> None:
    lines = lines_of("我们今天用的是最新的一种非常好的transcription服务大约需要12345.67秒就可以完成", "zh")
    assert [line for line in lines if "transcription" in line]
    assert [line for line in lines if "12345.67" in line]


def test_thai_is_broken_at_spaces_where_there_are_some() -> None:
    assert lines_of("สวัสดีครับผมชื่อสมชาย ยินดีที่ได้รู้จักทุกคนในวันนี้ขอบคุณมากครับ", "th") == [
        "สวัสดีครับผมชื่อสมชาย",
        "ยินดีที่ได้รู้จักทุกคนในวันนี้ขอบคุณมากครับ",
    ]


@pytest.mark.parametrize("before", range(8))
def test_no_thai_vowel_is_parted_from_its_consonant(before: int) -> None:
    lines = lines_of("ก" * before + "เกะแก้โกาไก่" * 20, "th", seconds=20)
    assert not [line for line in lines if line[-1] in "เแโใไ" or line[0] in "ะา" or is_mark(line[0])]


def test_a_korean_word_is_not_broken() -> None:
    assert lines_of(" ".join(["가" * 13] * 3), "ko") == ["가" * 13] * 3


def test_korean_is_broken_at_spaces() -> None:
    text = "안녕하세요 여러분 오늘은 날씨가 정말 좋네요 그래서 저는 공원에 가려고 합니다"
    assert " ".join(lines_of(text, "ko")) == text


def is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def test_a_cue_lasts_from_its_first_to_its_last_word() -> None:
    cues = cues_of("One, two. ", words="One 1 2.5,two 2.6 3.25")
    assert times_of(cues) == [(1000, 3250)]


def test_words_are_found_whatever_their_punctuation_and_case() -> None:
    cues = cues_of("“Hello,” it's ME!", words="hello 1 2,it's 2.5 3,Me! 3 4.5")
    assert times_of(cues) == [(1000, 4500)]


def test_words_of_several_characters_time_text_without_spaces() -> None:
    first, second = cues_of("你好吗？我很好。", "zh", words="你好吗 1 2,我很好 6 7")
    assert (first.lines, second.lines) == (("你好吗？",), ("我很好。",))
    assert times_of([first, second]) == [(1000, 2000), (6000, 7000)]


def test_no_cue_stands_over_a_long_silence() -> None:
    first, second = cues_of("Wait for it", words="Wait 0 1,for 4 5,it 5 6")
    assert (first.lines, second.lines) == (("Wait",), ("for it",))
    assert times_of([first, second]) == [(0, 1000), (4000, 6000)]


def test_without_marks_a_pause_decides() -> None:
    words = "one 0 1,two 1 2,three 2 3,four 3.6 4,five 4 5,six 5 6,seven 6 7,eight 7 8,nine 8 9"
    first, *_ = cues_of("one two three four five six seven eight nine", words=words)
    assert first.lines == ("one two three",)


def test_a_word_that_is_written_otherwise_is_placed_between_its_neighbours() -> None:
    cues = cues_of(
        "It took 25 days. " + "x" * 42 + " " + "y" * 41, words="It 0 1,took 1 2,twentyfive 2 3,days 3 4"
    )
    assert times_of(cues) == [(0, 4000), (4000, 10000)]


def test_text_too_long_to_be_compared_with_its_words_is_timed_by_estimate() -> None:
    first, *_, last = cues_of("ha " * 1500, seconds=600, words="ho 300 301")
    assert (first.start_ms, last.end_ms) == (0, 600_000)


def test_words_outside_their_segment_are_held_in_it() -> None:
    cues = cut_cues(transcript_of(Segment(5, 8, "In here", "en", (Word(1, 6, "In"), Word(6, 20, "here")))))
    assert times_of(cues) == [(5000, 8000)]


def test_cues_share_the_time_of_the_segment_by_their_length() -> None:
    cues = cues_of("花" * 10 + "。" + "花" * 32 + "。", "zh", seconds=8.8)
    assert times_of(cues) == [(0, 2200), (2200, 8800)]


def test_a_long_segment_has_no_cue_over_seven_seconds() -> None:
    cues = cues_of("one two three four", seconds=20)
    assert max(end - start for start, end in times_of(cues)) <= MAX_MS
    assert times_of(cues_of("Hm.", seconds=30)) == [(0, 7000)]


def test_a_short_cue_stays_on_where_silence_follows() -> None:
    transcript = transcript_of(Segment(1, 1.2, "Yes.", "en"), Segment(8, 9, "No.", "en"))
    assert times_of(cut_cues(transcript)) == [(1000, 2000), (8000, 9000)]


def test_a_dense_cue_stays_on_until_it_can_have_been_read() -> None:
    transcript = transcript_of(Segment(0, 2, "x" * 40 + " " + "y" * 39, "en"), Segment(8, 9, "No.", "en"))
    assert times_of(cut_cues(transcript))[0] == (0, 4000)


def test_no_cue_stays_on_behind_the_end_of_the_upload() -> None:
    assert times_of(cut_cues(transcript_of(Segment(1, 1.8, "Yes.", "en"), duration_s=1.9))) == [(1000, 1900)]


def test_a_segment_without_duration_is_given_some() -> None:
    assert times_of(cut_cues(transcript_of(Segment(3, 3, "Yes.", "en"), duration_s=3.5))) == [(3000, 3500)]


def test_a_cue_at_the_end_begins_earlier_to_be_seen() -> None:
    assert times_of(cut_cues(transcript_of(Segment(3, 3, "Yes.", "en"), duration_s=3))) == [(2500, 3000)]


def test_no_cue_is_longer_than_a_short_upload() -> None:
    assert times_of(cut_cues(transcript_of(Segment(0, 0.4, "Yes.", "en"), duration_s=0.4))) == [(0, 400)]


def test_cues_at_the_end_move_together() -> None:
    late = [Segment(9.9, 9.9, "word " * 16, "en"), Segment(9.9, 10.4, "other " * 13, "en")]
    assert times_of(cut_cues(transcript_of(*late, duration_s=10))) == [(9000, 9500), (9500, 10_000)]


def test_a_cue_without_room_joins_the_one_before() -> None:
    (first, second) = cut_cues(
        transcript_of(
            Segment(0, 2, "Well.", "en"), Segment(2, 2.1, "Yes.", "en"), Segment(2.1, 4, "I do.", "en")
        )
    )
    assert (first.lines, second.lines) == (("Well. Yes.",), ("I do.",))
    assert times_of([first, second]) == [(0, 2100), (2100, 4000)]


def test_a_cue_without_room_that_cannot_be_joined_makes_the_next_one_wait() -> None:
    first, second, third = cut_cues(
        transcript_of(
            Segment(0, 6, "word " * 16, "en"),
            Segment(6, 6.1, "other " * 4, "en"),
            Segment(6.1, 9, "Last.", "en"),
        )
    )
    assert times_of([first, second, third]) == [(0, 6000), (6000, 6500), (6500, 9000)]


def test_a_cue_without_room_does_not_join_one_that_is_long_past() -> None:
    cues = cut_cues(
        transcript_of(
            Segment(0, 1, "Well.", "en"), Segment(4, 4.1, "Yes.", "en"), Segment(4.1, 6, "I do.", "en")
        )
    )
    assert times_of(cues) == [(0, 1000), (4000, 4500), (4500, 6000)]


def test_cues_that_join_have_no_space_between_them_where_the_language_has_none() -> None:
    cues = cut_cues(
        transcript_of(
            Segment(0, 2, "好。", "zh"), Segment(2, 2.1, "是的。", "zh"), Segment(2.1, 4, "谢谢。", "zh")
        )
    )
    assert [cue.lines for cue in cues] == [("好。是的。",), ("谢谢。",)]


def test_overlapping_segments_take_turns() -> None:
    transcript = transcript_of(Segment(0, 5, "First.", "en"), Segment(3, 6, "Second.", "en"))
    assert times_of(cut_cues(transcript)) == [(0, 3000), (3000, 6000)]


def test_segments_out_of_order_keep_the_order_of_the_text() -> None:
    transcript = transcript_of(Segment(10, 12, "First.", "en"), Segment(0, 2, "Second.", "en"))
    cues = cut_cues(transcript)
    assert [cue.lines for cue in cues] == [("First.",), ("Second.",)]
    assert times_of(cues) == [(10_000, 12_000), (12_000, 13_000)]


def test_an_opening_bracket_with_a_space_ends_no_line() -> None:
    units = split_units("( ก ( 花", max_width=42, language="th")
    assert [unit.text for unit in units] == ["( ก", "( 花"]


def test_silence_has_no_cues() -> None:
    assert cut_cues(transcript_of()) == []
    assert cut_cues(transcript_of(Segment(0, 1, " \n ", "en"))) == []


TEXTS = st.one_of(
    st.text(max_size=200),
    st.text("ab .,-->\n'é\u0301\u00a0", max_size=300),
    st.text("花好。，「」（ーっa1 \n", max_size=200),
    st.text("ก็เแะา ำ่", max_size=100),
    st.text("\N{MAN}\N{ZERO WIDTH JOINER}\N{GIRL}\N{REGIONAL INDICATOR SYMBOL LETTER D} ", max_size=60),
    st.lists(st.sampled_from(["Yes.", "a", "well,", "so", "x" * 60, "extraordinary"]), max_size=60).map(
        " ".join
    ),
)
SECONDS = st.one_of(st.floats(0, 40), st.sampled_from([0.0, 0.0005, 1.0, 1.0004, 59.9996, 3599.9999]))
LANGUAGES = st.sampled_from(["en", "zh", "th", "ko", None])


@st.composite
def words_of(draw: st.DrawFn, text: str) -> tuple[Word, ...]:
    """Words that are more or less those of the text, at times that may be nonsense."""
    texts = draw(
        st.sampled_from([text.split(), list(text), re.findall(r"\w+", text), ["other", "words"], []])
    )
    return tuple(Word(draw(SECONDS), draw(SECONDS), text) for text in texts[:20])


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    text = draw(TEXTS)
    return Segment(draw(SECONDS), draw(SECONDS), text, draw(LANGUAGES), draw(words_of(text)))


TRANSCRIPTS = st.lists(segments(), max_size=6).map(lambda parts: transcript_of(*parts))


@settings(deadline=None)
@given(TRANSCRIPTS)
def test_all_of_the_text_is_in_the_cues_once_and_in_order(transcript: Transcript) -> None:
    text = "".join(line for cue in cut_cues(transcript) for line in cue.lines)
    assert without_spaces(text) == without_spaces(transcript.text)


@settings(deadline=None)
@given(TRANSCRIPTS)
def test_every_cue_is_readable(transcript: Transcript) -> None:
    for cue in cut_cues(transcript):
        assert 1 <= len(cue.lines) <= 2
        assert all(line == line.strip() and len(line.splitlines()) == 1 for line in cue.lines)
        assert all(width_of(line) <= MAX_LINE for line in cue.lines)
        assert MIN_MS <= cue.end_ms - cue.start_ms <= MAX_MS


@settings(deadline=None)
@given(TRANSCRIPTS)
def test_no_cue_begins_before_the_one_before_has_ended(transcript: Transcript) -> None:
    end_ms = 0
    for cue in cut_cues(transcript):
        assert cue.start_ms >= end_ms
        end_ms = cue.end_ms


@settings(deadline=None)
@given(TRANSCRIPTS, st.floats(1, 100))
def test_no_cue_ends_after_the_upload(transcript: Transcript, duration_s: float) -> None:
    cues = cut_cues(msgspec.structs.replace(transcript, duration_s=duration_s))
    assert all(cue.start_ms < cue.end_ms <= to_ms(duration_s) for cue in cues)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(cues))


@settings(deadline=None)
@given(text=TEXTS, start_s=st.floats(0, 10), seconds=st.floats(5, 40), language=LANGUAGES)
def test_no_cue_is_shown_before_its_segment_begins(
    text: str, start_s: float, seconds: float, language: str
) -> None:
    segment = Segment(start_s, start_s + seconds, text, language)
    assert all(cue.start_ms >= to_ms(start_s) for cue in cut_cues(transcript_of(segment)))


@settings(deadline=None)
@given(transcript=TRANSCRIPTS, max_width=st.integers(2, 20), max_lines=st.integers(1, 4))
def test_other_rules_are_kept_too(transcript: Transcript, max_width: int, max_lines: int) -> None:
    with patch.multiple(
        "api.formats.cues", MAX_LINE_CHARACTERS=max_width, MAX_LINES=max_lines, MAX_DURATION_S=3.0
    ):
        cues = cut_cues(transcript)
    assert all(len(cue.lines) <= max_lines for cue in cues)
    assert all(width_of(line) <= max_width for cue in cues for line in cue.lines)
    assert all(cue.end_ms - cue.start_ms <= to_ms(3.0) for cue in cues)
