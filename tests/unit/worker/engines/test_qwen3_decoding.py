"""Batches through Qwen3-ASR: what is told meanwhile, and every repair, with a stand-in for the model."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from worker.engines.protocol import DecodingStopped, Span, Window, WindowTranscript
from worker.engines.qwen3_decoding import (
    BatchDecoding,
    FollowTokens,
    OutOfDeviceMemory,
    language_code,
)
from worker.engines.qwen3_parts import compose_transcripts
from worker.engines.qwen3_row import Prompt, RowRules

END = 151_645
ENGLISH = "language English<asr_text>"
CONTEXT = "Minutes of the harbour board, with Ms. Okafor and Mr. Lindqvist."

# What the model says of a window, given the prompt and whether it must not repeat itself.
Script = Callable[[Prompt, bool], str]


class ModelStandIn:
    """Says its scripts byte by byte, and goes on from what it said; a window's number is its first sample."""

    def __init__(self, *scripts: str | Script, most_rows: int = 100) -> None:
        self.calls: list[list[int]] = []
        self.contexts: list[str] = []
        self._scripts = scripts
        self._most_rows = most_rows

    def decode_tokens(self, tokens: list[int]) -> str:
        return bytes(tokens).decode("utf-8", errors="replace")

    def generate(
        self, prompts: Sequence[Prompt], follow: FollowTokens, *, max_new_tokens: int, avoid_repeats: bool
    ) -> None:
        self.calls.append([int(prompt.samples[0]) for prompt in prompts])
        self.contexts += [prompt.context for prompt in prompts]
        if len(prompts) > self._most_rows:
            raise OutOfDeviceMemory
        texts = [self._continue(prompt, avoid_repeats=avoid_repeats) for prompt in prompts]
        for step in range(max_new_tokens):
            if all(follow([text[step] if step < len(text) else END for text in texts])):
                return

    def _continue(self, prompt: Prompt, *, avoid_repeats: bool) -> bytes:
        script = self._scripts[int(prompt.samples[0])]
        text = script if isinstance(script, str) else script(prompt, avoid_repeats)
        spoken = text.partition("<asr_text>")[2] if prompt.language else text
        return spoken.encode()[len(prompt.said) :]


class Listener:
    """Notes what is told, checks that nothing final is taken back, and says stop when told to."""

    def __init__(self, *, patience: int = 1_000_000) -> None:
        self.texts: dict[int, str] = {}
        self.told: list[tuple[int, str, str]] = []
        self.asked = 0
        self._patience = patience

    def on_partial(self, window: int, delta: str, tail: str) -> None:
        self.texts[window] = self.texts.get(window, "") + delta
        self.told.append((window, delta, tail))

    def is_stopped(self) -> bool:
        self.asked += 1
        return self.asked > self._patience


def make_window(number: int, *, seconds: int = 4) -> Window:
    start = 100 * SAMPLE_RATE_HZ * (number + 1)
    span = Span(start, start + seconds * SAMPLE_RATE_HZ)
    samples = np.full(span.length, number, np.float32)
    return Window(index=number, spans=(span,), samples=samples, end_sample=span.end)


def decode(
    model: ModelStandIn,
    windows: int = 1,
    *,
    listener: Listener | None = None,
    rules: RowRules | None = None,
    request: TranscriptionRequest | None = None,
) -> list[WindowTranscript]:
    slices = [make_window(number) for number in range(windows)]
    decoding = BatchDecoding(
        model,
        slices,
        request or TranscriptionRequest(),
        listener or Listener(),
        rules or RowRules(max_new_tokens=1_000),
    )
    return compose_transcripts(slices, decoding.decode(previous_language="fi"))


def text_of(transcript: WindowTranscript) -> str:
    return "".join(segment.text for segment in transcript.segments)


def test_the_head_gives_the_language_and_is_no_part_of_the_text() -> None:
    listener = Listener()

    (transcript,) = decode(ModelStandIn("language German<asr_text>Grüße aus Köln."), listener=listener)

    (segment,) = transcript.segments
    assert (segment.text, segment.language) == ("Grüße aus Köln.", "de")
    assert (segment.start_s, segment.end_s) == (100, 104)
    assert listener.texts == {0: "Grüße aus Köln."}
    assert not any("language" in delta + tail for _, delta, tail in listener.told)


@pytest.mark.parametrize("said", ["language None<asr_text>", "", ENGLISH])
def test_a_window_without_speech_has_no_segments(said: str) -> None:
    listener = Listener()

    assert decode(ModelStandIn(said), listener=listener) == [WindowTranscript(())]
    assert listener.told == []


def test_a_forced_language_is_that_of_the_segment() -> None:
    request = TranscriptionRequest(language_hint="fr")

    (transcript,) = decode(ModelStandIn(f"{ENGLISH}Bonjour."), request=request)

    assert [(segment.text, segment.language) for segment in transcript.segments] == [("Bonjour.", "fr")]


def test_text_of_no_known_language_is_in_that_of_the_speech_before() -> None:
    model = ModelStandIn("language None<asr_text>Hm.", "language German<asr_text>Ja.", "Na ja.")

    transcripts = decode(model, 3)

    assert [transcript.segments[0].language for transcript in transcripts] == ["fi", "de", "de"]


def test_the_end_of_the_text_is_a_tail_until_it_can_no_longer_change() -> None:
    listener = Listener()

    decode(ModelStandIn(f"{ENGLISH}{'The tide is out. ' * 5}And we wait."), listener=listener)

    final = "The tide is out. " * 5 + "And we wait."
    deltas = ""
    for _, delta, tail in listener.told:
        deltas += delta
        assert final.startswith((deltas + tail).strip())
        assert deltas == final or len(final) - len(deltas) > 0
    assert max(len(tail) for _, _, tail in listener.told) <= RowRules().hold_back + 1
    assert deltas == final


def test_nothing_of_a_window_is_final_before_the_one_ahead_of_it_is() -> None:
    listener = Listener()

    decode(ModelStandIn(f"{ENGLISH}{'slow ' * 9}", f"{ENGLISH}quick"), 2, listener=listener)

    last_of_first = max(place for place, told in enumerate(listener.told) if told[0] == 0 and told[1])
    first_of_second = min(place for place, told in enumerate(listener.told) if told[0] == 1 and told[1])
    assert last_of_first < first_of_second
    assert (1, "", "quick") in listener.told
    assert listener.texts == {0: ("slow " * 9).strip(), 1: "quick"}


def test_stop_is_heard_at_the_next_token() -> None:
    listener = Listener(patience=40)

    with pytest.raises(DecodingStopped):
        decode(ModelStandIn(f"{ENGLISH}{'and so on ' * 3}"), listener=listener)

    assert listener.asked == 41


def test_a_truncated_text_goes_on_from_what_was_said() -> None:
    model = ModelStandIn(f"{ENGLISH}The tide is out.", f"{ENGLISH}Yes.")

    transcripts = decode(model, 2, rules=RowRules(max_new_tokens=35))

    assert [text_of(transcript) for transcript in transcripts] == ["The tide is out.", "Yes."]
    assert [transcript.warnings for transcript in transcripts] == [(), ()]
    assert model.calls == [[0, 1], [0]]


def test_a_text_that_cannot_be_completed_is_warned_of_with_its_time() -> None:
    (transcript,) = decode(ModelStandIn(f"{ENGLISH}The tide is out."), rules=RowRules(max_new_tokens=5))

    assert "language English<asr_text>The tide is out.".startswith(f"{ENGLISH}{text_of(transcript)}")
    assert text_of(transcript) == "The tide"[: 5 + 10 + 20 - len(ENGLISH)].strip()
    assert "100.00 s to 104.00 s may be incomplete" in transcript.warnings[0]


def test_a_loop_is_cut_and_decoded_once_more_without_repeats() -> None:
    def script(_: Prompt, avoid_repeats: bool) -> str:  # noqa: FBT001 - as the model is asked
        return f"{ENGLISH}Yes. " + ("I see. Goodbye." if avoid_repeats else "I see. " * 99)

    (transcript,) = decode(ModelStandIn(script))

    assert text_of(transcript) == "Yes. I see. Goodbye."
    assert "repeated itself" in transcript.warnings[0]


def test_a_loop_that_comes_again_is_cut_for_good() -> None:
    listener = Listener()

    (transcript,) = decode(ModelStandIn(f"{ENGLISH}{'I see. ' * 200}"), listener=listener)

    text = text_of(transcript)
    assert text == " ".join(["I see."] * text.count("I"))
    assert len(text) < 80
    assert len(transcript.warnings) == 1
    assert listener.texts == {0: text}


def test_an_echo_of_the_context_is_decoded_again_without_it() -> None:
    model = ModelStandIn(lambda prompt, _: ENGLISH + (prompt.context or "Good morning."))
    request = TranscriptionRequest(context=CONTEXT)

    (transcript,) = decode(model, request=request)

    assert text_of(transcript) == "Good morning."
    assert "without the prompt" in transcript.warnings[0]
    assert model.contexts == [CONTEXT, ""]


def test_what_is_said_without_the_context_as_well_was_spoken() -> None:
    (transcript,) = decode(ModelStandIn(f"{ENGLISH}{CONTEXT}"), request=TranscriptionRequest(context=CONTEXT))

    assert text_of(transcript) == CONTEXT
    assert transcript.warnings == ()


def test_without_memory_for_a_batch_its_halves_are_tried() -> None:
    model = ModelStandIn(*[f"{ENGLISH}{word}." for word in ("One", "Two", "Three")], most_rows=2)

    transcripts = decode(model, 3)

    assert [text_of(transcript) for transcript in transcripts] == ["One.", "Two.", "Three."]
    assert model.calls == [[0, 1, 2], [0], [1, 2]]


@pytest.mark.parametrize(("windows", "most_rows"), [(1, 0), (8, 3)])
def test_without_memory_for_half_of_a_batch_it_fails(windows: int, most_rows: int) -> None:
    with pytest.raises(OutOfDeviceMemory):
        decode(ModelStandIn(*[f"{ENGLISH}Yes."] * windows, most_rows=most_rows), windows)


@pytest.mark.parametrize(
    ("name", "code"), [("English", "en"), (" cantonese", "yue"), ("Klingon", None), (None, None)]
)
def test_a_language_that_qwen_names_has_a_code(name: str | None, code: str | None) -> None:
    assert language_code(name) == code


PIECES = st.sampled_from(
    ["The tide ", "is out. ", "é", "茶", "  ", "ha ", "\n", "I see. " * 12, "八" * 70, CONTEXT, "<asr_text>"]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@given(
    texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3),
    max_new_tokens=st.integers(1, 400),
    context=st.sampled_from([None, CONTEXT]),
    hint=st.sampled_from([None, "en"]),
)
def test_whatever_is_repaired_what_was_told_is_the_beginning_of_the_text(
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
        rules=RowRules(max_new_tokens=max_new_tokens),
        request=request,
    )

    told = [listener.texts.get(number, "") for number in range(len(texts))]
    assert told == [text_of(transcript) for transcript in transcripts]
