"""Stops inside a step of the model, which may take minutes on a slow device.

torch cannot be interrupted, so the layers are. A stop that is only seen after the step would cost the process
with the loaded model, and a step that shows no sign of life counts as a stall.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from worker.engines.protocol import DecodingStopped

LOOK_INTERVAL_S = 0.1
"""Seconds between two looks for a stop. Steps that take less have none of their own."""


class StepWatch:
    """The looks for a stop before each layer of Qwen's `thinker`, within `watch`."""

    def __init__(self, thinker: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look_at = 0.0
        self._is_stopped: Callable[[], bool] | None = None
        tower = thinker.audio_tower
        for module in (*tower.children(), *tower.layers, *thinker.model.layers):
            module.register_forward_pre_hook(self._look)

    @contextmanager
    def watch(self, is_stopped: Callable[[], bool]) -> Iterator[None]:
        """Look for stops within the block.

        Raises:
            DecodingStopped: `is_stopped` returned true.
        """
        self._is_stopped = is_stopped
        self._look_at = self._clock() + LOOK_INTERVAL_S
        try:
            yield
        finally:
            self._is_stopped = None

    def _look(self, *_call: Any) -> None:
        if self._is_stopped is not None and (now := self._clock()) >= self._look_at:
            self._look_at = now + LOOK_INTERVAL_S
            if self._is_stopped():
                raise DecodingStopped
