"""Segments are sentences or clauses, and joined again they are the text, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text.sentences import cut_sentences
from shared.transcripts import Segment, Word, join_segments


def time_words(*spelled: str, word_s: float = 0.5, pauses: dict[int, float] | None = None) -> list[Word]:
    """Words one after the other, with the `pauses` behind those with these numbers."""
    words, now_s = [], 0.0
    for number, text in enumerate(spelled):
        words.append(Word(now_s, now_s + word_s, text))
        now_s += word_s + (pauses or {}).get(number, 0.0)
    return words


def texts_of(segments: list[Segment]) -> list[str]:
    return [segment.text for segment in segments]


@pytest.mark.parametrize(
    ("language", "text", "words", "sentences"),
    [
        ("en", "It works. Does it? Yes!", "It works Does it Yes", ["It works.", "Does it?", "Yes!"]),
        ("en", 'He said: "Stop." I left.', "He said Stop I left", ['He said: "Stop."', "I left."]),
        ("en", "Dr. Ada Smith paid 3.14 dollars.", "Dr Ada Smith paid 3.14 dollars", None),
        ("en", "J. Smith left the U.S. Army.", "J Smith left the U.S Army", None),
        ("en", "Wait... what? he asked", "Wait what he asked", None),
        ("en", "In 1999. Not in 2000.", "In 1999 Not in 2000", ["In 1999.", "Not in 2000."]),
        ("de", "Am 3. Mai, z.B. Montag.", "Am 3 Mai z.B Montag", None),
        ("es", "Hola. ¿Qué tal? Bien.", "Hola Qué tal Bien", ["Hola.", "¿Qué tal?", "Bien."]),
        ("ko", "안녕하세요. 반갑습니다.", "안녕 하세요 반갑 습니다", ["안녕하세요.", "반갑습니다."]),
    ],
)  # fmt: skip
def test_text_is_cut_behind_sentences_and_not_behind_abbreviations(
    language: str, text: str, words: str, sentences: list[str] | None
) -> None:
    segments = cut_sentences(text, time_words(*words.split()), language)

    assert texts_of(segments) == (sentences or [text])


def test_an_unspaced_text_is_cut_without_a_space() -> None:
    text = "我想喝咖啡。“你呢？”我也是！"

    segments = cut_sentences(text, time_words(*"我想喝咖啡你呢我也是"), "zh")

    assert texts_of(segments) == ["我想喝咖啡。", "“你呢？”", "我也是！"]
    assert join_segments(segments) == text


def test_a_text_is_not_cut_where_that_would_lose_a_space_of_it() -> None:
    words = time_words(*"你好再见")

    assert texts_of(cut_sentences("你好。 再见。", words, "zh")) == ["你好。 再见。"]
    assert texts_of(cut_sentences("你好。再见。", words, "en")) == ["你好。再见。"]
    assert texts_of(cut_sentences("One.  Two.", time_words("One", "Two"), "en")) == ["One.  Two."]


def test_a_segment_has_its_words_and_lasts_from_the_first_to_the_last() -> None:
    first, second = cut_sentences("So it is. Good.", time_words("So", "it", "is", "Good"), "en")

    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0.0, 1.5, 1.5, 2.0)
    assert [word.text for word in first.words] == ["So", "it", "is"]
    assert second.language == "en"


def test_a_long_sentence_is_cut_at_the_clause_nearest_to_its_middle() -> None:
    spelled = "one two three four five six seven eight nine ten".split()  # noqa: SIM905 - reads as text
    text = "one two, three four five, six seven eight, nine ten"

    segments = cut_sentences(text, time_words(*spelled, word_s=1.5), "en")

    assert texts_of(segments) == ["one two, three four five,", "six seven eight, nine ten"]
    assert texts_of(cut_sentences(text, time_words(*spelled, word_s=0.9), "en")) == [text]


def test_a_long_sentence_without_marks_is_cut_at_pauses_and_else_left() -> None:
    spelled = ["word"] * 12
    text = " ".join(spelled)

    paused = cut_sentences(text, time_words(*spelled, word_s=1, pauses={4: 0.7}), "en")

    assert texts_of(paused) == [" ".join(spelled[:5]), " ".join(spelled[5:])]
    assert texts_of(cut_sentences(text, time_words(*spelled, word_s=1), "en")) == [text]


def test_a_long_pause_always_ends_a_segment() -> None:
    words = time_words("two", "seven", "one", pauses={0: 0.9, 1: 1.0})

    assert texts_of(cut_sentences("two seven one", words, "en")) == ["two seven", "one"]
    words = time_words("two", "seven", "one", pauses={0: 1.0, 1: 1.0})
    assert texts_of(cut_sentences("two seven one", words, "en")) == ["two", "seven", "one"]


@given(
    pieces=st.lists(
        st.tuples(
            st.sampled_from(["a", "Dr", "He", "3", "好", "ไทย", "U.S"]),
            st.sampled_from(
                ["", " ", "  ", ". ", ".", "。", "。 ", '." ', ", ", "—", " - ", "! «", "\n", "？「"]
            ),
            st.sampled_from([0.0, 0.3, 0.7, 2.0, 11.0]),
        ),
        min_size=1,
    ),
    language=st.sampled_from(["en", "de", "zh", "ja", "ko", None]),
    lead=st.sampled_from(["", "¿", '"', "- "]),
)
def test_joined_again_the_segments_are_the_text(
    pieces: list[tuple[str, str, float]], language: str | None, lead: str
) -> None:
    text = lead + "".join(word + gap for word, gap, _ in pieces)
    pauses = {number: pause for number, (_, _, pause) in enumerate(pieces)}
    words = time_words(*(word for word, _, _ in pieces), pauses=pauses)

    segments = cut_sentences(text, words, language)

    assert join_segments(segments) == text.strip()
    assert [word for segment in segments for word in segment.words] == words
    assert all(segment.words for segment in segments)
