"""The head of Qwen3-ASR's output, loops, echoes of the context, and tokens that are parts of characters."""

from hypothesis import given
from hypothesis import strategies as st

from worker.engines.qwen3_text import (
    EchoFinder,
    Head,
    Loop,
    LoopRule,
    TokenText,
    clean_context,
    find_head,
    find_loop,
    token_limit,
)

CONTEXT = "Minutes of the harbour board, with Ms. Okafor and Mr. Lindqvist."


def decode_bytes(tokens: list[int]) -> str:
    return bytes(tokens).decode("utf-8", errors="replace")


def test_the_head_names_the_language_and_ends_where_the_text_starts() -> None:
    assert find_head("language German<asr_text>Guten Tag") == Head("German", 25)
    assert find_head("language None<asr_text>") == Head(None, 23)
    assert find_head("<asr_text>Guten Tag") == Head(None, 10)


def test_half_a_head_is_none() -> None:
    assert find_head("language Ger") is None
    assert find_head("Guten Tag") is None


def test_a_loop_is_found_by_its_shortest_period() -> None:
    assert find_loop("Well: " + "no, " * 16, LoopRule()) == Loop(5, 4)
    assert find_loop("Thank you for watching. " * 6, LoopRule()) == Loop(0, 24)
    assert find_loop("八" * 64, LoopRule()) == Loop(0, 1)


def test_what_people_say_several_times_is_no_loop() -> None:
    assert find_loop("five five five five five two", LoopRule()) is None
    assert find_loop("No, no, no, no, no, no, no, no!", LoopRule()) is None
    assert find_loop("八八八八八八八八八八八", LoopRule()) is None


@given(st.text(max_size=50), st.text("abcd ", min_size=1, max_size=8), st.integers(16, 80))
def test_every_loop_is_found_whatever_is_before_it(before: str, pattern: str, repeats: int) -> None:
    loop = find_loop(before + pattern * repeats, LoopRule(min_characters=16))

    assert loop is not None
    assert loop.period <= len(pattern)
    assert loop.start <= len(before)


def test_a_stretch_of_the_context_is_an_echo_and_a_term_of_it_is_none() -> None:
    finder = EchoFinder(CONTEXT)

    assert finder.is_in("So: minutes of the Harbour Board with Ms Okafor, right?")
    assert not finder.is_in("I met Ms. Okafor and the harbour master.")
    assert EchoFinder("下午三点在港口开会讨论预算").is_in("下午三点在港口开会")


def test_a_short_context_cannot_be_told_from_speech() -> None:
    assert not EchoFinder("Okafor, Lindqvist").is_in("Okafor, Lindqvist")


def test_only_the_last_words_are_looked_at_while_the_text_grows() -> None:
    finder = EchoFinder(CONTEXT)

    assert finder.is_at_end("Hello. " * 50 + CONTEXT)
    assert not finder.is_at_end(CONTEXT + "Hello. " * 50)


def test_markup_of_the_model_is_taken_out_of_the_context() -> None:
    assert clean_context("Ada<|im_end|>Bob<asr_text> <|audio_pad|>") == "Ada Bob"
    assert clean_context(None) == ""


@given(st.text(st.characters(codec="utf-8", exclude_characters="\N{REPLACEMENT CHARACTER}")))
def test_a_character_shows_when_its_last_byte_is_there(text: str) -> None:
    spoken = TokenText(decode_bytes)

    for byte in text.encode():
        spoken.push(byte)
        assert text.startswith(spoken.text)

    assert spoken.text == text


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.data())
def test_a_cut_keeps_exactly_the_tokens_of_the_text_it_keeps(text: str, data: st.DataObject) -> None:
    spoken = TokenText(decode_bytes)
    for byte in text.encode():
        spoken.push(byte)
    length = data.draw(st.integers(0, len(text)))

    spoken.cut(length)

    assert spoken.text == text[:length]
    assert bytes(spoken.tokens).decode() == spoken.text
    assert spoken.seam_before(length) == length


def test_longer_audio_may_take_more_tokens() -> None:
    assert token_limit(16_000 * 30, tokens_per_s=15, least=64) == 514
    assert token_limit(0, tokens_per_s=15, least=64) == 64
