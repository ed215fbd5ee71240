"""The text sent to OpenAI's clients only grows, and ends as the transcript, whatever is in the log."""

import json
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors.tree import StreamInterrupted
from api.streams.text_streams import AppendOnlyText, encode_delta, encode_end
from shared.events import AnyEvent, Partial, Progress, Requeued, SegmentDone, Started
from shared.transcripts import Segment, TokenCounts, compose_transcript, join_segments

CRASH = (Requeued("worker_lost"), Started(2, "scripted", "tests"))


def done(text: str, language: str | None = "en") -> SegmentDone:
    return SegmentDone(Segment(0, 1, text, language))


def stream(text: str, *events: AnyEvent) -> list[str]:
    """Return the deltas of these events, each read alone, and of the whole `text` at the end."""
    growing = AppendOnlyText("7")
    return [
        delta for delta in (*(growing.take([event]) for event in events), growing.extend_to(text)) if delta
    ]


def test_final_text_is_sent_and_a_tail_is_not() -> None:
    sent = stream(
        "Hello. Bye",
        Partial(0, "Hel", "p"),
        Partial(0, "lo", " word"),
        done("Hello."),
        Partial(1, "Bye", "", "en"),
    )
    assert sent == ["Hel", "lo", ".", " Bye"]


def test_the_space_between_windows_comes_with_the_text_after_it() -> None:
    one, two = Partial(0, "One ", "", "en"), Partial(1, "two", "", "en")
    assert stream("One two", one, done("One"), two, done("two")) == ["One", " two"]


def test_there_is_no_space_before_a_language_without_spaces() -> None:
    assert stream("Hello你好", done("Hello"), Partial(1, "你好", "", "zh")) == ["Hello", "你好"]


def test_text_waits_while_the_space_before_it_is_unknown() -> None:
    assert AppendOnlyText("7").take([done("Hello"), Partial(1, "你好")]) == "Hello"
    assert stream("Hello你好", done("Hello"), Partial(1, "你好"), done("你好", "zh")) == ["Hello", "你好"]
    assert AppendOnlyText("7").take([Partial(0, "你好")]) == "你好"


def test_a_window_that_is_decoded_again_goes_on_where_it_was() -> None:
    again = (Partial(0, "One"), Partial(0, " two three"), done("One two three."))
    sent = stream("One two three.", Partial(0, "One two"), *CRASH, *again)
    assert sent == ["One two", " three", "."]


def test_a_listener_that_missed_the_partials_gets_the_segments() -> None:
    sent = stream("One two. Three.", Partial(0, "One"), done("One two."), done("Three."))
    assert sent == ["One", " two.", " Three."]


@pytest.mark.parametrize("event", [Partial(0, "One too"), done("One too."), done("Once")])
def test_text_that_contradicts_the_sent_text_interrupts(event: AnyEvent) -> None:
    growing = AppendOnlyText("7")
    growing.take([Partial(0, "One two")])
    with pytest.raises(StreamInterrupted, match="/v1/jobs/7"):
        growing.take([*CRASH, event])


@pytest.mark.parametrize("text", ["One", "One too", ""])
def test_a_transcript_that_contradicts_the_sent_text_interrupts(text: str) -> None:
    growing = AppendOnlyText("7")
    growing.take([Partial(0, "One two")])
    with pytest.raises(StreamInterrupted):
        growing.extend_to(text)


def test_silence_sends_no_delta() -> None:
    assert stream("", Progress(1, 1)) == []
    assert [frame.encode() for frame in encode_end("", None)] == [
        b'data: {"type":"transcript.text.done","text":""}\n\n',
        b"data: [DONE]\n\n",
    ]


def test_counted_tokens_are_sent_at_the_end() -> None:
    done, _ = encode_end("One.", TokenCounts(text_input=9, audio_input=26, output=5))
    assert json.loads(done.encode().removeprefix(b"data: "))["usage"] == {
        "type": "tokens",
        "input_tokens": 35,
        "output_tokens": 5,
        "total_tokens": 40,
        "input_token_details": {"text_tokens": 9, "audio_tokens": 26},
    }


def test_a_frame_is_one_line_without_id_name_or_retry() -> None:
    (frame,) = encode_delta("a\r\nb ”")
    assert frame.encode().decode() == 'data: {"type":"transcript.text.delta","delta":"a\\r\\nb ”"}\n\n'
    assert list(encode_delta("")) == []


Windows = Sequence[Sequence[Segment]]

texts = st.text("ab好 .\n", max_size=8)
languages = st.sampled_from(["en", "zh", None])
segments = st.builds(Segment, start_s=st.just(0.0), end_s=st.just(1.0), text=texts, language=languages)
windows = st.lists(st.lists(segments, max_size=3), max_size=5)


def tell_partials(first: int, batch: Windows, chance: random.Random) -> Iterator[Partial]:
    """The text of windows in pieces, to some point of it; with their language, or without."""
    for number, window in enumerate(batch, first):
        text = join_segments(window)
        language = next((segment.language for segment in window if segment.text.strip()), None)
        while text:
            if chance.random() < 0.2:
                return
            size = chance.randint(0, 4)
            tail = chance.choice(["", "?!"])
            yield Partial(number, text[:size], tail, language if chance.random() < 0.7 else None)
            text = text[size:]


def tell_job(windows: Windows, chance: random.Random) -> Iterator[list[AnyEvent]]:
    """The events of each stretch after which the log drops what it held of partials."""
    first = 0
    while first < len(windows):
        batch = windows[first : first + chance.randint(1, 3)]
        while chance.random() < 0.3:
            yield [*tell_partials(first, batch, chance), *CRASH]
        partials = list(tell_partials(first, batch, chance))
        for window in batch:
            yield [*partials, *(SegmentDone(segment) for segment in window), Progress(1, 2)]
            partials = []
        first += len(batch)


def listen(stretch: list[AnyEvent], chance: random.Random) -> Iterator[list[AnyEvent]]:
    """The pages that a listener reads: some of the partials may be gone before it comes to them."""
    partials = [event for event in stretch if isinstance(event, Partial)]
    heard = partials[: chance.randint(0, len(partials))]
    events = [*heard, *(event for event in stretch if not isinstance(event, Partial))]
    while events:
        size = chance.randint(1, 4)
        yield events[:size]
        del events[:size]


@settings(deadline=None)
@given(windows=windows, chance=st.randoms(use_true_random=False))
def test_joined_deltas_are_the_transcript(windows: Windows, chance: random.Random) -> None:
    finished = [segment for window in windows for segment in window]
    text = compose_transcript(finished, duration_s=9).text
    growing = AppendOnlyText("7")
    deltas = []
    for stretch in tell_job(windows, chance):
        for page in listen(stretch, chance):
            deltas.append(growing.take(page))
            assert text.startswith("".join(deltas))
    deltas.append(growing.extend_to(text))
    assert "".join(deltas) == text


@settings(deadline=None)
@given(windows=windows, other=texts, chance=st.randoms(use_true_random=False))
def test_a_second_decoding_that_differs_never_changes_sent_text(
    windows: Windows, other: str, chance: random.Random
) -> None:
    finished = [segment for window in windows for segment in window]
    again = [*finished[:-1], Segment(0.0, 1.0, other, "en")]
    text = join_segments(again)
    growing = AppendOnlyText("7")
    given = ""
    try:
        for stretch in tell_job(windows, chance):
            for page in listen(stretch[:-1], chance):
                given += growing.take(page)
        given += growing.extend_to(text)
    except StreamInterrupted:
        assert not text.startswith(given) or text != join_segments(finished)
    else:
        assert given == text
