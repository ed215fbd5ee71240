"""The engine `qwen3` as clients meet it: exact text by every endpoint, while streaming and at the end."""

import json
from itertools import pairwise
from typing import Any, NamedTuple

import httpx_sse
import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from tests.support.audio import write_floats
from tests.support.endpoints import URL, follow, read_success, submit, transcribe
from tests.support.server import RealServer
from tests.support.tiny_qwen3 import EXACT, SAMPLES, SPOKEN, read_file
from worker.engines.protocol import Samples

EDGE_S = 0.6  # how far the bounds of a segment may be from those of its sample: silence at the edges

# The first fills a window, so that no other two, in other languages, are decoded together.
LONG_SAMPLES = ("en_fox", "zh_tea", "en_fox", "de_digits5", "en_fox", "de_umlaut")


class Spoken(NamedTuple):
    """A sample inside of a longer recording, with its bounds in seconds."""

    name: str
    start_s: float
    end_s: float


def join_samples(times: int, *, gap_s: float) -> tuple[Samples, list[Spoken]]:
    """A long recording: the long samples, so many times, with silence before each."""
    silence = np.zeros(round(gap_s * SAMPLE_RATE_HZ), np.float32)
    parts: list[Samples] = []
    spoken: list[Spoken] = []
    length = 0
    for name in LONG_SAMPLES * times:
        audio = SAMPLES[name].read()
        start = length + len(silence)
        length = start + len(audio)
        parts += [silence, audio]
        spoken.append(Spoken(name, start / SAMPLE_RATE_HZ, length / SAMPLE_RATE_HZ))
    return np.concatenate(parts), spoken


def bare(text: str) -> str:
    """`text` without spaces, which may or may not stand where windows and segments meet."""
    return text.replace(" ", "")


@pytest.mark.parametrize("name", EXACT)
def test_a_synchronous_call_gets_the_exact_text_and_its_language(qwen_server: RealServer, name: str) -> None:
    body = transcribe(qwen_server, read_file(name))

    assert body["text"] == SAMPLES[name].text
    assert body["language"] == SAMPLES[name].code
    assert body["duration"] == pytest.approx(len(SAMPLES[name].read()) / SAMPLE_RATE_HZ, abs=0.01)


@pytest.mark.parametrize("name", ["en_hello", "de_umlaut", "zh_tea", "silence"])
def test_response_format_text_answers_with_the_bare_text(qwen_server: RealServer, name: str) -> None:
    answer = qwen_server.client.post(URL, files={"file": read_file(name)}, data={"response_format": "text"})

    assert answer.text == SAMPLES[name].text + "\n"


@pytest.mark.parametrize(
    ("name", "spelling"), [("en_digits6", "en"), ("de_digits5", "German"), ("zh_tea", "zh-CN")]
)
def test_the_language_may_be_given_in_any_spelling(qwen_server: RealServer, name: str, spelling: str) -> None:
    body = transcribe(qwen_server, read_file(name), language=spelling)

    assert (body["text"], body["language"]) == (SAMPLES[name].text, SAMPLES[name].code)


def test_another_language_that_is_forced_is_the_one_of_the_words(qwen_server: RealServer) -> None:
    body = transcribe(qwen_server, read_file("en_digits3"), language="de")

    assert body["language"] == "de"
    assert body["text"]
    assert {"one", "three", "four"}.isdisjoint(body["text"].split())


@pytest.mark.parametrize("name", ["en_two", "de_digits5", "zh_tea"])
def test_the_stream_has_text_early_and_the_exact_text_at_the_end(qwen_server: RealServer, name: str) -> None:
    audio = np.concatenate([SAMPLES[name].read()] * 3)
    with httpx_sse.connect_sse(
        qwen_server.client, "POST", f"{URL}/stream", files={"file": write_floats(audio)}
    ) as source:
        events = [json.loads(event.data) for event in source.iter_sse() if is_text(event)]

    *partials, final, done = events
    assert done == {"done": True}
    assert final["is_final"] is True
    assert final["language"] == SAMPLES[name].code
    assert final["text"] == transcribe(qwen_server, write_floats(audio))["text"]
    assert len(partials) > 3
    assert not any(partial["is_final"] for partial in partials)
    assert len(partials[0]["text"]) < len(final["text"]) / 2


def test_deltas_in_three_languages_are_the_text(qwen_server: RealServer) -> None:
    audio, _ = join_samples(1, gap_s=2.5)
    form = {"files": {"file": write_floats(audio)}, "data": {"stream": "true"}}
    with httpx_sse.connect_sse(qwen_server.client, "POST", URL, **form) as source:
        *events, end = [event.data for event in source.iter_sse() if event.data]

    *deltas, done = map(json.loads, events)
    assert end == "[DONE]"
    assert len(deltas) > 1
    assert "".join(delta["delta"] for delta in deltas) == done["text"]
    assert done["text"] == transcribe(qwen_server, write_floats(audio))["text"]
    usage, inputs = done["usage"], done["usage"]["input_token_details"]
    assert usage["type"] == "tokens"
    assert usage["input_tokens"] == inputs["text_tokens"] + inputs["audio_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    spoken_s = sum(len(SAMPLES[name].read()) for name in LONG_SAMPLES) / SAMPLE_RATE_HZ
    assert 0.5 * spoken_s * 13 < inputs["audio_tokens"] < len(audio) / SAMPLE_RATE_HZ * 13
    assert usage["output_tokens"] > 0


@pytest.mark.parametrize("name", SPOKEN)
def test_a_job_has_events_and_the_exact_text(qwen_server: RealServer, name: str) -> None:
    location = submit(qwen_server, read_file(name))
    events = follow(qwen_server, location)
    transcript = read_success(qwen_server, location)["transcript"]

    assert (transcript["text"], transcript["language"]) == (SAMPLES[name].text, SAMPLES[name].code)
    assert [kind for kind, _ in events if kind in {"succeeded", "failed", "cancelled"}] == ["succeeded"]
    segments = [event["text"] for kind, event in events if kind == "segment"]
    assert bare("".join(segments)) == bare(SAMPLES[name].text)
    assert SAMPLES[name].text.startswith(
        "".join(event["delta"] for kind, event in events if kind == "partial" and event["window"] == 0)
    )


def test_loading_is_reported_by_phase(make_qwen_server: Any) -> None:
    server = make_qwen_server().start()
    events = follow(server, submit(server, read_file("en_hello")))

    loading = [event for kind, event in events if kind == "loading"]
    assert [event["phase"] for event in loading] == [
        "importing libraries",
        "finding weights",
        "loading weights",
        "loaded",
    ]
    elapsed_s = [event["elapsed_s"] for event in loading]
    assert elapsed_s == sorted(elapsed_s)
    # Libraries take seconds to import, from the disk or from memory.
    assert elapsed_s[-1] > elapsed_s[0]
    kinds = [kind for kind, _ in events]
    assert kinds.index("started") < kinds.index("loading") < kinds.index("segment")

    words = submit(server, read_file("en_hello"), response_format="srt")
    aligner, loaded = [event for kind, event in follow(server, words) if kind == "loading"]
    assert (aligner["phase"], loaded["phase"]) == ("loading aligner", "loaded")
    assert aligner["elapsed_s"] == 0
    assert loaded["elapsed_s"] > 0


def test_minutes_of_speech_in_three_languages_are_exact_in_order_and_place(qwen_server: RealServer) -> None:
    audio, spoken = join_samples(4, gap_s=2.5)
    assert len(audio) > 150 * SAMPLE_RATE_HZ
    location = submit(qwen_server, write_floats(audio))
    segments = [event for kind, event in follow(qwen_server, location) if kind == "segment"]
    transcript = read_success(qwen_server, location)["transcript"]

    assert bare(transcript["text"]) == bare("".join(SAMPLES[part.name].text for part in spoken))
    assert all(first["end"] <= second["start"] for first, second in pairwise(segments))
    check_places(segments, spoken)


def check_places(segments: list[dict[str, Any]], spoken: list[Spoken]) -> None:
    """Check that segments within the bounds of each sample cover it about from its start to its end."""
    for part in spoken:
        inside = [segment for segment in segments if part.start_s <= middle_s(segment) <= part.end_s]
        assert bare("".join(segment["text"] for segment in inside)) == bare(SAMPLES[part.name].text)
        assert inside[0]["start"] == pytest.approx(part.start_s, abs=EDGE_S)
        assert inside[-1]["end"] == pytest.approx(part.end_s, abs=EDGE_S)


def is_text(event: httpx_sse.ServerSentEvent) -> bool:
    return event.event == "message" and bool(event.data)


def middle_s(segment: dict[str, Any]) -> float:
    return float(segment["start"] + segment["end"]) / 2
