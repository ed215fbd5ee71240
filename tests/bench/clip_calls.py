"""Synchronous calls with clips that arrive at given times, whether or not earlier ones are answered."""

import asyncio
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tests.bench.calls import SyncClient, encode_form


@dataclass(frozen=True)
class Clip:
    """An encoded form with a clip, and its right text."""

    form: bytes
    text: str


@dataclass
class ClipCalls:
    """The calls to the api on `port`, each on a thread and a connection of its own."""

    port: int
    wrong: int = 0
    """The number of transcripts with another text than that of their clip."""

    async def send_at_once(self, clips: Sequence[Clip]) -> float:
        """Send all clips now, and return the seconds until the last transcript."""
        return max(await self.send(clips, [0.0] * len(clips)))

    async def send(self, clips: Sequence[Clip], due_s: Sequence[float]) -> list[float]:
        """Send each clip so many seconds from now, and return the seconds from then to its transcript."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(clips)) as pool:
            calls = [
                asyncio.wrap_future(pool.submit(self._send_one, clip.form, began + due))
                for clip, due in zip(clips, due_s, strict=True)
            ]
            answers = await asyncio.gather(*calls)
        self.wrong += sum(text != clip.text for clip, (_, text) in zip(clips, answers, strict=True))
        return [waited_s for waited_s, _ in answers]

    def _send_one(self, form: bytes, due: float) -> tuple[float, str]:
        time.sleep(max(0.0, due - time.perf_counter()))
        client = SyncClient(self.port)
        try:
            answer = client.transcribe(form).body
        finally:
            client.close()
        return time.perf_counter() - due, json.loads(answer)["text"]


def encode_clip(file: bytes, text: str) -> Clip:
    """Return a clip of a WAV file."""
    return Clip(encode_form(file, {}), text)


def draw_arrivals(per_s: float, length_s: float) -> list[float]:
    """Return the seconds of the arrivals of a Poisson process, as many as `length_s` has on average.

    They are always the same.
    """
    draw = np.random.default_rng(1)
    gaps_s = draw.exponential(1 / per_s, max(1, round(per_s * length_s)))
    return [float(arrival_s) for arrival_s in np.cumsum(gaps_s)]
