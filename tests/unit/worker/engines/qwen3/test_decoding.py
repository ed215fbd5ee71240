"""Batches through Qwen3-ASR: their partials and every repair, with a stand-in for the model."""

from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.jobs import TranscriptionRequest
from shared.transcripts import TokenCounts, WarningCode, WindowTranscript, join_texts
from tests.support.qwen3_stand_in import ENGLISH, Listener, ModelStandIn, Script, make_window
from tests.support.rows import decode_parts
from worker.engines.protocol import DecodingStopped, Row
from worker.engines.qwen3.decoding import (
    language_code,
)
from worker.engines.qwen3.finish_reason import FinishReason
from worker.engines.qwen3.inputs import Prompt
from worker.engines.qwen3.sequence import SequenceState
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.engines.qwen3.transcripts import compose_transcripts

CONTEXT = "Minutes of the harbour board, with Ms. Okafor and Mr. Lindqvist."


def decode(
    model: ModelStandIn,
    windows: int = 1,
    *,
    listener: Listener | None = None,
    rules: SequenceRules | None = None,
    request: TranscriptionRequest | None = None,
) -> list[WindowTranscript]:
    slices = [make_window(number) for number in range(windows)]
    parts = decode_parts(
        model,
        slices,
        Row(slices[0], request or TranscriptionRequest(), listener or Listener(), "fi"),
        rules or SequenceRules(max_new_tokens=1_000),
    )
    return compose_transcripts(slices, parts, {})


def text_of(transcript: WindowTranscript) -> str:
    return "".join(segment.text for segment in transcript.segments)


def test_the_language_tag_gives_the_language_and_is_not_part_of_the_text() -> None:
    listener = Listener()

    (transcript,) = decode(ModelStandIn("language German<asr_text>Grüße aus Köln."), listener=listener)

    (segment,) = transcript.segments
    assert (segment.text, segment.language) == ("Grüße aus Köln.", "de")
    assert (segment.start_s, segment.end_s) == (100, 104)
    assert listener.texts == {0: "Grüße aus Köln."}
    assert not any("language" in delta + tail for _, delta, tail in listener.partials)


@pytest.mark.parametrize("said", ["language None<asr_text>", "", ENGLISH])
def test_a_window_without_speech_has_no_segments(said: str) -> None:
    listener = Listener()

    assert decode(ModelStandIn(said), listener=listener) == [WindowTranscript(())]
    assert listener.partials == []


def test_a_forced_language_is_that_of_the_segment() -> None:
    request = TranscriptionRequest(language_hint="fr")

    (transcript,) = decode(ModelStandIn(f"{ENGLISH}Bonjour."), request=request)

    assert [(segment.text, segment.language) for segment in transcript.segments] == [("Bonjour.", "fr")]


@pytest.mark.parametrize(("asked", "taken"), [(None, 0.0), (0.0, 0.0), (0.7, 0.7)])
def test_every_generation_has_the_requested_temperature(asked: float | None, taken: float) -> None:
    model = ModelStandIn(f"{ENGLISH}Well, " + "I see. " * 99)

    decode(model, request=TranscriptionRequest(temperature=asked))

    assert model.temperatures == [taken, taken]


def test_tokens_are_counted_over_all_generations_of_a_window_the_end_token_too() -> None:
    said = f"{ENGLISH}The tide is out."
    whole = ModelStandIn(said, said, is_counting=True)
    in_two = ModelStandIn(said, is_counting=True)

    transcripts = decode(whole, 2, request=TranscriptionRequest(context="abc"))
    (repaired,) = decode(in_two, rules=SequenceRules(max_new_tokens=30))

    counted = TokenCounts(text_input=3, audio_input=4, output=len(said) + 1)
    assert [transcript.token_counts for transcript in transcripts] == [counted, counted]
    assert len(in_two.calls) == 2
    assert repaired.token_counts == TokenCounts(text_input=30, audio_input=8, output=len(said) + 1)


def test_tokens_that_were_cut_off_again_are_counted() -> None:
    (transcript,) = decode(ModelStandIn(f"{ENGLISH}Well, " + "I see. " * 99, is_counting=True))

    assert transcript.token_counts is not None
    assert transcript.token_counts.audio_input == 8
    assert transcript.token_counts.output > len(ENGLISH + text_of(transcript)) + 1


def test_where_a_model_does_not_count_a_window_has_no_counts() -> None:
    (transcript,) = decode(ModelStandIn(f"{ENGLISH}Hello."))

    assert transcript.token_counts is None


def test_text_of_no_known_language_is_in_that_of_the_speech_before() -> None:
    model = ModelStandIn("language None<asr_text>Hm.", "language German<asr_text>Ja.", "Na ja.")

    transcripts = decode(model, 3)

    assert [transcript.segments[0].language for transcript in transcripts] == ["fi", "de", "de"]


def test_the_end_of_the_text_is_a_tail_until_it_can_no_longer_change() -> None:
    listener = Listener()

    decode(ModelStandIn(f"{ENGLISH}{'The tide is out. ' * 5}And we wait."), listener=listener)

    final = "The tide is out. " * 5 + "And we wait."
    deltas = ""
    for _, delta, tail in listener.partials:
        deltas += delta
        assert final.startswith((deltas + tail).strip())
        assert deltas == final or len(final) - len(deltas) > 0
    assert max(len(tail) for _, _, tail in listener.partials) <= SequenceRules().hold_back + 1
    assert deltas == final


def test_a_window_gets_no_delta_before_the_earlier_one_is_complete() -> None:
    listener = Listener()

    decode(ModelStandIn(f"{ENGLISH}{'slow ' * 9}", f"{ENGLISH}quick"), 2, listener=listener)

    last_of_first = max(place for place, told in enumerate(listener.partials) if told[0] == 0 and told[1])
    first_of_second = min(place for place, told in enumerate(listener.partials) if told[0] == 1 and told[1])
    assert last_of_first < first_of_second
    assert (1, "", "quick") in listener.partials
    assert listener.texts == {0: ("slow " * 9).strip(), 1: "quick"}


def test_a_delta_comes_with_the_language_of_its_window() -> None:
    listener = Listener()

    texts = (f"language {name}<asr_text>{'One more word. ' * 9}" for name in ("German", "None", "Chinese"))
    transcripts = decode(ModelStandIn(*texts), 3, listener=listener)

    found = {index: {transcript.segments[0].language} for index, transcript in enumerate(transcripts)}
    assert listener.languages == found == {0: {"de"}, 1: {"de"}, 2: {"zh"}}


def test_a_stop_takes_effect_at_the_next_token() -> None:
    listener = Listener(max_checks=40)

    with pytest.raises(DecodingStopped):
        decode(ModelStandIn(f"{ENGLISH}{'and so on ' * 3}"), listener=listener)

    assert listener.stop_checks == 41


def test_a_truncated_text_goes_on_from_its_end() -> None:
    model = ModelStandIn(f"{ENGLISH}The tide is out.", f"{ENGLISH}Yes.")

    transcripts = decode(model, 2, rules=SequenceRules(max_new_tokens=35))

    assert [text_of(transcript) for transcript in transcripts] == ["The tide is out.", "Yes."]
    assert [transcript.warnings for transcript in transcripts] == [(), ()]
    assert model.calls == [[0, 1], [0]]


def test_a_text_that_cannot_be_completed_is_warned_of_with_its_time() -> None:
    (transcript,) = decode(ModelStandIn(f"{ENGLISH}The tide is out."), rules=SequenceRules(max_new_tokens=5))

    assert "language English<asr_text>The tide is out.".startswith(f"{ENGLISH}{text_of(transcript)}")
    assert text_of(transcript) == "The tide"[: 5 + 10 + 20 - len(ENGLISH)].strip()
    (warning,) = transcript.warnings
    assert (warning.code, warning.start_s, warning.end_s) == (WarningCode.TRUNCATED, 100.0, 104.0)
    assert "100.00 s to 104.00 s may be incomplete" in warning.message
    assert not transcript.is_complete


def test_a_text_without_a_language_tag_is_published_while_it_is_generated_and_not_repaired() -> None:
    said = "".join(f"{number} boats lie on the sand. " for number in range(99))
    listener = Listener()
    model = ModelStandIn(said, f"{ENGLISH}{said}")

    first, second = decode(model, 2, listener=listener, rules=SequenceRules(max_new_tokens=200))

    assert text_of(first) == said[:200].strip()
    assert listener.texts[0] == text_of(first)
    assert (0, "", said[:48].strip()) in listener.partials
    assert [warning.code for warning in first.warnings] == [WarningCode.TRUNCATED]
    assert not first.is_complete
    assert text_of(second) == said[: 7 * 200 - len(ENGLISH)].strip()
    assert model.calls == [[0, 1], [1], [1]]


@pytest.mark.parametrize(("token_s", "generations"), [(0.05, 3), (0.15, 2), (1.0, 1)])
def test_a_truncated_text_is_not_repaired_once_that_would_take_too_long(
    token_s: float, generations: int
) -> None:
    row = Row(make_window(0), TranscriptionRequest(language_hint="en"), Listener())
    rules = SequenceRules(max_new_tokens=100, repair_within_s=20)
    now = count(step=token_s)
    model = ModelStandIn(ENGLISH + "".join(f"{number} boats. " for number in range(999)))
    sequence = SequenceState(row, decode=model.decode_tokens, rules=rules, clock=lambda: next(now))

    while not sequence.is_accepted:
        model.start([sequence])
        while not sequence.is_finished:
            model.step()
        sequence.end_generation()

    assert len(model.calls) == generations
    assert sequence.faults == [FinishReason.LENGTH]


def test_a_loop_is_cut_and_decoded_once_more_without_repeats() -> None:
    def script(_: Prompt, avoid_repeats: bool) -> str:  # noqa: FBT001 - as the model is asked
        return f"{ENGLISH}Yes. " + ("I see. Goodbye." if avoid_repeats else "I see. " * 99)

    (transcript,) = decode(ModelStandIn(script))

    assert text_of(transcript) == "Yes. I see. Goodbye."
    assert [warning.code for warning in transcript.warnings] == [WarningCode.REPETITION]
    assert not transcript.is_complete


def test_a_loop_of_a_sentence_is_found_before_it_is_published_again() -> None:
    sentence = "Thank you all very much for watching this video until the very end."
    listener = Listener()

    (transcript,) = decode(ModelStandIn(f"{ENGLISH}{f'{sentence} ' * 99}"), listener=listener)

    assert text_of(transcript) == sentence
    assert listener.texts == {0: sentence}
    assert [warning.code for warning in transcript.warnings] == [WarningCode.REPETITION]
    assert not transcript.is_complete


def test_a_second_loop_is_cut_and_ends_the_text() -> None:
    listener = Listener()

    (transcript,) = decode(ModelStandIn(f"{ENGLISH}{'I see. ' * 200}"), listener=listener)

    text = text_of(transcript)
    assert text == " ".join(["I see."] * text.count("I"))
    assert len(text) < 80
    assert [warning.code for warning in transcript.warnings] == [WarningCode.REPETITION]
    assert not transcript.is_complete
    assert listener.texts == {0: text}


def test_an_echo_of_the_context_is_decoded_again_without_it() -> None:
    model = ModelStandIn(lambda prompt, _: ENGLISH + (prompt.context or "Good morning."))
    request = TranscriptionRequest(context=CONTEXT)

    (transcript,) = decode(model, request=request)

    assert text_of(transcript) == "Good morning."
    assert [warning.code for warning in transcript.warnings] == [WarningCode.CONTEXT_ECHO]
    assert model.contexts == [CONTEXT, ""]


def test_a_text_that_is_only_the_short_context_is_decoded_without_it() -> None:
    model = ModelStandIn(lambda prompt, _: ENGLISH + prompt.context)

    (transcript,) = decode(model, request=TranscriptionRequest(context="Okafor, Lindqvist"))

    assert text_of(transcript) == ""
    assert [warning.code for warning in transcript.warnings] == [WarningCode.CONTEXT_ECHO]


@pytest.mark.parametrize("context", [CONTEXT, "Okafor, Lindqvist"])
def test_an_echo_that_comes_without_the_context_as_well_was_spoken(context: str) -> None:
    (transcript,) = decode(ModelStandIn(f"{ENGLISH}{context}"), request=TranscriptionRequest(context=context))

    assert text_of(transcript) == context
    assert transcript.warnings == ()


def test_longer_audio_may_take_more_tokens() -> None:
    assert SequenceRules().count_max_tokens(16_000 * 30) == 514
    assert SequenceRules().count_max_tokens(0) == 64
    assert SequenceRules(max_new_tokens=9).count_max_tokens(16_000 * 30) == 9


def test_a_batch_that_does_not_fit_is_decoded_in_halves() -> None:
    model = ModelStandIn(*[f"{ENGLISH}{word}." for word in ("One", "Two", "Three")], max_sequences=2)

    transcripts = decode(model, 3)

    assert [text_of(transcript) for transcript in transcripts] == ["One.", "Two.", "Three."]
    assert model.calls == [[0, 1, 2], [0], [1, 2]]


def test_a_batch_is_halved_until_it_fits() -> None:
    model = ModelStandIn(*[f"{ENGLISH}Yes."] * 8, max_sequences=3)
    assert [text_of(transcript) for transcript in decode(model, 8)] == ["Yes."] * 8
    assert list(map(len, model.calls)) == [8, 4, 2, 2, 4, 2, 2]


def test_a_window_that_does_not_fit_alone_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="The engine failed"):
        decode(ModelStandIn(f"{ENGLISH}Yes.", max_sequences=0))


@pytest.mark.parametrize(
    ("name", "code"), [("English", "en"), (" cantonese", "yue"), ("Klingon", None), (None, None)]
)
def test_a_language_that_qwen_names_has_a_code(name: str | None, code: str | None) -> None:
    assert language_code(name) == code


def test_a_later_part_of_a_window_begins_with_what_belongs_between_the_texts() -> None:
    model = ModelStandIn(
        f"{ENGLISH}Good morning.",
        "language Chinese<asr_text>早上好。",
        "language German<asr_text>Guten Morgen.",
    )
    listener = Listener()
    parts = [make_window(number, index=7) for number in range(3)]

    decoded = decode_parts(model, parts, Row(parts[0], TranscriptionRequest(), listener), SequenceRules())

    assert [(part.text, part.language) for part in decoded] == [
        ("Good morning.", "en"),
        ("早上好。", "zh"),
        ("Guten Morgen.", "de"),
    ]
    assert listener.texts == {7: "Good morning.早上好。 Guten Morgen."}
    assert model.calls == [[0], [1], [2]]


def test_parts_are_decoded_by_as_many_at_once_as_there_are_windows() -> None:
    model = ModelStandIn(*[f"{ENGLISH}{word}." for word in ("One", "Two", "Three", "Four", "Five")])
    parts = [make_window(number, index=index) for number, index in enumerate([0, 0, 0, 1, 1])]

    decode_parts(model, parts, Row(parts[0], TranscriptionRequest(), Listener()), SequenceRules())

    assert model.calls == [[0, 1], [2, 3], [4]]


SENTENCE = "Thank you all very much for watching this video until the very end. "
PIECES = st.sampled_from(
    [
        "The tide ",
        "is out. ",
        "é",
        "茶",
        "  ",
        "ha ",
        "\n",
        "I see. " * 12,
        "八" * 70,
        SENTENCE * 5,
        CONTEXT,
        "<asr_text>",
    ]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@settings(deadline=None)
@given(
    texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3),
    max_new_tokens=st.integers(1, 400),
    context=st.sampled_from([None, CONTEXT]),
    hint=st.sampled_from([None, "en"]),
)
def test_deltas_are_the_text_whatever_is_repaired(
    texts: list[tuple[str, str]], max_new_tokens: int, context: str | None, hint: str | None
) -> None:
    def speak(plain: str, repaired: str) -> Script:
        return lambda prompt, avoid: ENGLISH + (repaired if avoid or not prompt.context else plain)

    listener = Listener()
    model = ModelStandIn(*[speak(plain, repaired) for plain, repaired in texts])
    request = TranscriptionRequest(context=context, language_hint=hint)

    transcripts = decode(
        model,
        len(texts),
        listener=listener,
        rules=SequenceRules(max_new_tokens=max_new_tokens),
        request=request,
    )

    told = [listener.texts.get(number, "") for number in range(len(texts))]
    assert told == [text_of(transcript) for transcript in transcripts]


HEADS = st.sampled_from(
    [f"language {name}<asr_text>" for name in ("English", "German", "Chinese", "Thai", "None")] + [""]
)
PARTS = st.tuples(HEADS, TEXTS, HEADS, TEXTS)


@settings(deadline=None)
@given(
    windows=st.lists(st.lists(PARTS, min_size=1, max_size=3), min_size=1, max_size=3),
    max_new_tokens=st.integers(1, 400),
    context=st.sampled_from([None, CONTEXT]),
    hint=st.sampled_from([None, "en", "zh"]),
)
def test_deltas_of_parts_are_their_joined_texts_whatever_is_repaired(
    windows: list[list[tuple[str, str, str, str]]], max_new_tokens: int, context: str | None, hint: str | None
) -> None:
    def speak(head: str, plain: str, later_head: str, repaired: str) -> Script:
        # Only without the context it may hear another language: going on does not change what was said.
        return lambda prompt, avoid: (
            (head + (repaired if avoid else plain))
            if prompt.context == (context or "")
            else later_head + repaired
        )

    texts = [(index, part) for index, parts in enumerate(windows) for part in parts]
    listener = Listener()

    parts = [make_window(number, index=index) for number, (index, _) in enumerate(texts)]

    decoded = decode_parts(
        ModelStandIn(*[speak(*part) for _, part in texts]),
        parts,
        Row(parts[0], TranscriptionRequest(context=context, language_hint=hint), listener, "ja"),
        SequenceRules(max_new_tokens=max_new_tokens),
    )

    for index in range(len(windows)):
        joined = join_texts((part.text, part.language) for part in decoded if part.window.index == index)
        assert listener.texts.get(index, "") == joined
    told = [window for window, delta, _ in listener.partials if delta]
    assert all(before <= after for before, after in pairwise(told))
