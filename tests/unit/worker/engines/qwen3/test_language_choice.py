"""Of several languages that a client names, each window gets the spoken one."""

from collections.abc import Sequence

import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from tests.support.qwen3_stand_in import Listener, ModelStandIn
from worker.engines.protocol import DecodingStopped, Row, Span, Window
from worker.engines.qwen3.language_choice import choose_languages


def make_rows(*languages: tuple[str, ...], listener: Listener, previous: str | None = None) -> list[Row]:
    rows = []
    for index, named in enumerate(languages):
        samples = np.full(2 * SAMPLE_RATE_HZ, index, np.float32)
        window = Window(index=index, spans=(Span(0, len(samples)),), samples=samples, end_sample=len(samples))
        rows.append(Row(window, TranscriptionRequest(languages=named), listener, previous))
    return rows


def choose(rows: Sequence[Row], *said: str) -> list[str | None]:
    listener = rows[0].listener
    chosen = choose_languages(ModelStandIn(*said), rows, listener.is_stopped)
    assert not any(row.request.languages for row in chosen)
    return [row.request.language_hint for row in chosen]


def test_each_window_gets_the_language_that_is_detected_in_it() -> None:
    rows = make_rows(("de", "en"), ("de", "en"), listener=Listener())

    assert choose(rows, "language English<asr_text>", "language German<asr_text>") == ["en", "de"]


@pytest.mark.parametrize("heard", ["language Dutch<asr_text>", "language None<asr_text>"])
def test_another_language_becomes_that_of_the_speech_before_or_the_first_one(heard: str) -> None:
    assert choose(make_rows(("de", "en"), listener=Listener()), heard) == ["de"]
    assert choose(make_rows(("de", "en"), listener=Listener(), previous="en"), heard) == ["en"]
    assert choose(make_rows(("de", "en"), listener=Listener(), previous="fr"), heard) == ["de"]
    rows = make_rows(("de", "en"), ("de", "en"), listener=Listener())
    assert choose(rows, "language English<asr_text>", heard) == ["en", "en"]


def test_rows_without_a_choice_are_left_alone() -> None:
    rows = make_rows((), listener=Listener())

    assert choose_languages(ModelStandIn(), rows, lambda: False) == rows


def test_a_stop_ends_the_detection() -> None:
    with pytest.raises(DecodingStopped):
        choose_languages(
            ModelStandIn("language German"), make_rows(("de", "en"), listener=Listener()), lambda: True
        )
