"""A watch looks for stops before the layers of a model, in steps that take long."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from worker.engines.protocol import DecodingStopped
from worker.engines.qwen3.step_watch import LOOK_INTERVAL_S, StepWatch


class LayerStandIn:
    """A layer that takes no time of its own."""

    def __init__(self) -> None:
        self.hooks: list[Callable[..., None]] = []

    def register_forward_pre_hook(self, hook: Callable[..., None]) -> None:
        self.hooks.append(hook)

    def __call__(self) -> None:
        for hook in self.hooks:
            hook(self, ())


class Watched:
    """A model of three layers, its watch, and the clock of that."""

    def __init__(self) -> None:
        self.convolution, self.encoder_layer, self.layer = (LayerStandIn() for _ in range(3))
        tower = SimpleNamespace(children=lambda: [self.convolution], layers=[self.encoder_layer])
        thinker = SimpleNamespace(audio_tower=tower, model=SimpleNamespace(layers=[self.layer]))
        self.now = 0.0
        self.looks = 0
        self.watch = StepWatch(thinker, clock=lambda: self.now)

    def look(self) -> bool:
        self.looks += 1
        return False

    def run(self, *, layer_s: float) -> None:
        for layer in (self.convolution, self.encoder_layer, self.layer):
            self.now += layer_s
            layer()


def test_each_kind_of_layer_looks_for_a_stop_in_a_long_step() -> None:
    model = Watched()
    with model.watch.watch(model.look):
        model.run(layer_s=LOOK_INTERVAL_S)
    assert model.looks == 3


def test_a_short_step_does_not_look_for_a_stop() -> None:
    model = Watched()
    for _ in range(9):
        with model.watch.watch(model.look):
            model.run(layer_s=LOOK_INTERVAL_S / 4)
    assert model.looks == 0


def test_a_stop_ends_the_step() -> None:
    model = Watched()
    with pytest.raises(DecodingStopped), model.watch.watch(lambda: True):
        model.run(layer_s=LOOK_INTERVAL_S)
    assert model.now == LOOK_INTERVAL_S


def test_without_a_watch_layers_do_not_look() -> None:
    model = Watched()
    with model.watch.watch(model.look):
        pass
    model.run(layer_s=LOOK_INTERVAL_S)
    assert model.looks == 0
