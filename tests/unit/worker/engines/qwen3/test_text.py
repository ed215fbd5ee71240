"""The head of Qwen3-ASR's output, loops, echoes of the context, and tokens that are parts of characters."""

from hypothesis import given
from hypothesis import strategies as st

from worker.engines.qwen3.text import (
    EchoFinder,
    LanguageTag,
    Loop,
    LoopRule,
    TokenText,
    clean_context,
    find_first_repeat,
    find_language_tag,
    find_loop,
)

CONTEXT = "Minutes of the harbour board, with Ms. Okafor and Mr. Lindqvist."


def decode_bytes(tokens: list[int]) -> str:
    return bytes(tokens).decode("utf-8", errors="replace")


def test_the_language_tag_names_the_language_and_ends_before_the_text() -> None:
    assert find_language_tag("language German<asr_text>Guten Tag") == LanguageTag("German", 25)
    assert find_language_tag("language None<asr_text>") == LanguageTag(None, 23)
    assert find_language_tag("<asr_text>Guten Tag") == LanguageTag(None, 10)


def test_an_incomplete_language_tag_is_not_found() -> None:
    assert find_language_tag("language Ger") is None
    assert find_language_tag("Guten Tag") is None


def test_a_loop_is_found_by_its_shortest_period() -> None:
    assert find_loop("Well: " + "no, " * 16, LoopRule()) == Loop(5, 4)
    assert find_loop("Thank you for watching. " * 6, LoopRule()) == Loop(0, 24)
    assert find_loop("八" * 64, LoopRule()) == Loop(0, 1)


def test_what_people_say_several_times_is_not_a_loop() -> None:
    assert find_loop("five five five five five two", LoopRule()) is None
    assert find_loop("No, no, no, no, no, no, no, no!", LoopRule()) is None
    assert find_loop("八八八八八八八八八八八", LoopRule()) is None


SENTENCE = "Thank you all very much for watching this video until the very end. "


def test_a_sentence_is_a_loop_the_fourth_time() -> None:
    assert find_loop("Well:" + SENTENCE * 3, LoopRule()) is None
    assert find_loop("Well:" + SENTENCE * 4, LoopRule()) == Loop(5, len(SENTENCE))


def test_a_sentence_is_suspicious_as_soon_as_much_of_it_comes_again() -> None:
    assert find_first_repeat(SENTENCE + SENTENCE[:30], LoopRule()) is None
    assert find_first_repeat("Well:" + SENTENCE + SENTENCE[:45], LoopRule()) == 5 + len(SENTENCE)
    assert find_first_repeat(SENTENCE * 2 + "But", LoopRule()) is None


@given(st.text("abcdefgh ", min_size=1, max_size=240), st.integers(7, 9))
def test_every_loop_of_a_sentence_is_found(sentence: str, repeats: int) -> None:
    loop = find_loop(sentence * repeats, LoopRule(min_characters=7))

    assert loop is not None
    assert loop.period <= len(sentence)


@given(st.text(max_size=50), st.text("abcd ", min_size=1, max_size=8), st.integers(16, 80))
def test_every_loop_is_found_whatever_is_before_it(before: str, pattern: str, repeats: int) -> None:
    loop = find_loop(before + pattern * repeats, LoopRule(min_characters=16))

    assert loop is not None
    assert loop.period <= len(pattern)
    assert loop.start <= len(before)


def test_a_passage_of_the_context_is_an_echo_but_not_a_single_term() -> None:
    finder = EchoFinder(CONTEXT)

    assert finder.is_in("So: minutes of the Harbour Board with Ms Okafor, right?")
    assert not finder.is_in("I met Ms. Okafor and the harbour master.")
    assert EchoFinder("下午三点在港口开会讨论预算").is_in("下午三点在港口开会")


def test_a_short_context_is_an_echo_only_as_the_whole_text() -> None:
    finder = EchoFinder("Okafor, Lindqvist")

    assert not finder.is_in("Okafor, Lindqvist")
    assert finder.is_all_of("Okafor Lindqvist.")
    assert not finder.is_all_of("Okafor.")
    assert not finder.is_all_of("Okafor met Lindqvist.")
    assert not finder.is_all_of("")
    assert not EchoFinder("Kubernetes").is_all_of("Kubernetes.")


def test_only_the_last_words_are_searched_while_the_text_grows() -> None:
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


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\N{REPLACEMENT CHARACTER}")), st.integers(1, 9)
)
def test_tokens_may_end_inside_of_characters(text: str, size: int) -> None:
    encoded = text.encode()
    spoken = TokenText(lambda tokens: b"".join(pieces[token] for token in tokens).decode(errors="replace"))
    pieces = [encoded[:1], *(encoded[start : start + size] for start in range(1, len(encoded), size))]

    for token in range(len(pieces)):
        spoken.push(token)
        assert text.startswith(spoken.text)

    assert spoken.text == text


def test_bytes_that_never_become_a_character_do_not_block_the_text() -> None:
    spoken = TokenText(decode_bytes)
    for byte in b"\xff\xff\xff\xffabc":
        spoken.push(byte)

    assert spoken.text.endswith("abc")


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.data())
def test_a_cut_keeps_exactly_the_tokens_of_the_text_it_keeps(text: str, data: st.DataObject) -> None:
    spoken = TokenText(decode_bytes)
    for byte in text.encode():
        spoken.push(byte)
    length = data.draw(st.integers(0, len(text)))

    spoken.cut(length)

    assert spoken.text == text[:length]
    assert bytes(spoken.tokens).decode() == spoken.text
    assert spoken.find_boundary(length) == length
