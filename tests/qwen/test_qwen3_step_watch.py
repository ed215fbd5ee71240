"""A stop is seen between the layers of the model, so a long step costs no process and counts as no stall."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shared.jobs import TranscriptionRequest, WordTimestamps
from tests.support.rows import open_outcome
from tests.support.tiny_qwen3 import SAMPLES, TINY
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.protocol import Row, RowOutcome, RowStopped, Samples, Span, Window
from worker.engines.qwen3 import step_watch
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.settings import WorkerSettings

HELLO = SAMPLES["en_hello"]
WORDS = TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED)


class Listener:
    """A listener that requests a stop once `is_over` is set, and calls `on_look` at each check."""

    def __init__(self, on_look: Callable[[], None] = lambda: None) -> None:
        self.is_over = False
        self._on_look = on_look

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        pass

    def is_stopped(self) -> bool:
        self._on_look()
        return self.is_over


def stop_all(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        listener.is_over = True


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    """The engine for the miniature, with its aligner."""
    settings = WorkerSettings(
        model_id=str(TINY), aligner_id=str(TINY / "aligner"), device="cpu", batch_windows=8
    )
    loaded = Qwen3Engine(settings, rules=SequenceRules(max_new_tokens=6, truncation_repairs=6))
    loaded.load(lambda _phase: None)
    loaded._timer._find_aligner()
    return loaded


@pytest.fixture(autouse=True)
def _look_at_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each step be long enough for a look before every layer."""
    monkeypatch.setattr(step_watch, "LOOK_INTERVAL_S", 0.0)


def take_rows(
    names: Sequence[str], listeners: Sequence[Listener], request: TranscriptionRequest
) -> list[Row]:
    """A job for each of the samples."""
    rows = []
    for name, listener in zip(names, listeners, strict=True):
        samples = SAMPLES[name].read()
        window = Window(0, (Span(0, len(samples)),), samples, len(samples))
        rows.append(Row(window, request, listener))
    return rows


def decode(
    engine: Qwen3Engine, *listeners: Listener, request: TranscriptionRequest | None = None
) -> list[RowOutcome]:
    """Decode one sample for each listener at once, and return the outcomes in this order."""
    rows = take_rows(["en_hello"] * len(listeners), listeners, request or TranscriptionRequest())
    outcomes = {id(row): outcome for row, outcome in engine.decode_rows(rows)}
    return [outcomes[id(row)] for row in rows]


def text_of(outcome: RowOutcome) -> str:
    return "".join(segment.text for segment in open_outcome(outcome).segments)


class Calls:
    """The calls of some layers in order. The first call of `action[0]` also calls `action[1]`."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.seen: list[int] = []
        self.actions: dict[int, Callable[[], None]] = {}
        self._handles = [
            layer.register_forward_pre_hook(lambda *_call, number=number: self._see(number))
            for number, layer in enumerate(layers)
        ]

    def _see(self, number: int) -> None:
        self.seen.append(number)
        self.actions.pop(number, lambda: None)()

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def find_layers(engine: Qwen3Engine, place: str) -> Sequence[Any]:
    model = engine._model._thinker
    aligner = engine._timer._find_aligner()._aligner.model.thinker  # type: ignore[attr-defined]
    layers: Sequence[Any] = {
        "encoder": model.audio_tower.layers,
        "prompt": model.model.layers,
        "aligner's encoder": aligner.audio_tower.layers,
        "aligner": aligner.model.layers,
    }[place]
    return layers


WatchLayers = Callable[[Sequence[Any]], Calls]


@pytest.fixture
def watch_layers() -> Iterator[WatchLayers]:
    watched: list[Calls] = []

    def watch(layers: Sequence[Any]) -> Calls:
        watched.append(Calls(layers))
        return watched[-1]

    yield watch
    for calls in watched:
        calls.remove()


@pytest.mark.parametrize("place", ["encoder", "prompt", "aligner's encoder", "aligner"])
def test_a_stop_within_a_step_ends_it_before_the_next_layer(
    engine: Qwen3Engine, watch_layers: WatchLayers, place: str
) -> None:
    listeners = [Listener(), Listener()]
    calls = watch_layers(find_layers(engine, place))
    calls.actions[1] = partial(stop_all, listeners)

    outcomes = decode(engine, *listeners, request=WORDS)

    assert outcomes == [RowStopped()] * 2
    assert calls.seen == [0, 1]
    assert text_of(decode(engine, Listener())[0]) == HELLO.text


@pytest.mark.parametrize("place", ["encoder", "prompt"])
def test_a_stop_of_one_job_within_a_step_costs_the_others_nothing(
    engine: Qwen3Engine, watch_layers: WatchLayers, place: str
) -> None:
    stopped = Listener()
    calls = watch_layers(find_layers(engine, place))
    calls.actions[1] = partial(stop_all, [stopped])

    outcomes = decode(engine, Listener(), stopped, Listener())

    assert outcomes[1] == RowStopped()
    assert [text_of(outcomes[0]), text_of(outcomes[2])] == [HELLO.text] * 2
    assert calls.seen.count(0) == calls.seen.count(len(find_layers(engine, place)) - 1)


def test_a_stop_while_a_batch_is_prepared_is_seen_at_the_next_row(
    engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners = [Listener() for _ in range(8)]
    processor = engine._model._processor
    extract, prepared = processor.extract_features, 0

    def extract_and_stop(samples: Samples) -> npt.NDArray[np.float32]:
        nonlocal prepared
        prepared += 1
        if prepared == 3:
            stop_all(listeners)
        return extract(samples)

    monkeypatch.setattr(processor, "extract_features", extract_and_stop)

    assert decode(engine, *listeners) == [RowStopped()] * 8
    assert prepared == 3


def test_there_is_a_sign_of_life_between_two_layers_from_the_probe_to_the_words(
    engine: Qwen3Engine, watch_layers: WatchLayers
) -> None:
    places = ("encoder", "prompt", "aligner's encoder", "aligner")
    calls = watch_layers([layer for place in places for layer in find_layers(engine, place)])
    looks = 0
    unseen: list[int] = []

    def note_look() -> None:
        nonlocal looks
        looks += 1
        if len(calls.seen) > 1:
            unseen.extend(calls.seen[1:])
        calls.seen.clear()

    blocks = [SAMPLES["en_digits6"].read()]
    (window,) = cut_windows(blocks, SileroVad().open_stream(), config=WindowConfig(window_s=8))
    assert len(window.pauses) > 1

    list(engine.decode_rows([Row(window, WORDS, Listener(note_look))]))

    assert unseen == []
    assert looks > 100
