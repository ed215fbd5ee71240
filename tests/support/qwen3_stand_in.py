"""A stand-in for the model of Qwen3-ASR that generates scripted texts, and a listener of its partials."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import TokenCounts
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.inputs import Prompt
from worker.engines.qwen3.token_generator import Generation, OutOfDeviceMemory

END = 151_645
ENGLISH = "language English<asr_text>"

# The text of a window, given the prompt and whether repeats are penalised.
Script = Callable[[Prompt, bool], str]


class ModelStandIn:
    """A model that generates its scripts byte by byte; the first sample of a window is its number."""

    def __init__(
        self, *scripts: str | Script, max_sequences: int = 100, is_counting: bool = False, joins: bool = False
    ) -> None:
        self.calls: list[list[int]] = []
        self.contexts: list[str] = []
        self.temperatures: list[float] = []
        self.joins_generations = joins
        self._scripts = scripts
        self._most_rows = max_sequences
        self._is_counting = is_counting
        self._open: dict[int, tuple[Generation, Iterator[int]]] = {}

    def decode_tokens(self, tokens: list[int]) -> str:
        """The text of `tokens`, which are bytes."""
        return bytes(tokens).decode("utf-8", errors="replace")

    def start(self, generations: Sequence[Generation]) -> None:
        """Go on with the script of each prompt."""
        prompts = [generation.prompt for generation in generations]
        self.temperatures.append(generations[0].options.temperature)
        self.calls.append([int(prompt.audio.read()[0]) for prompt in prompts])
        self.contexts += [prompt.context for prompt in prompts]
        if len(self._open) + len(prompts) > self._most_rows:
            self._open.clear()
            raise OutOfDeviceMemory
        for generation, prompt in zip(generations, prompts, strict=True):
            text = self._continue(prompt, avoid_repeats=generation.options.avoid_repeats)
            self._open[id(generation)] = generation, chain(text, repeat(END))
            if self._is_counting:
                generation.count_prompt(_count(prompt))

    def step(self) -> None:
        """Push the next token of each."""
        for generation, text in self._open.values():
            generation.push(next(text))
        self.drop([generation for generation in self._list_open() if generation.is_finished])

    @property
    def open_generations(self) -> int:
        """The number of generations that are continued."""
        return len(self._open)

    def _list_open(self) -> list[Generation]:
        return [generation for generation, _ in self._open.values()]

    def drop(self, generations: Sequence[Generation]) -> None:
        """Forget these."""
        for generation in generations:
            self._open.pop(id(generation), None)

    def _continue(self, prompt: Prompt, *, avoid_repeats: bool) -> bytes:
        script = self._scripts[int(prompt.audio.read()[0])]
        text = script if isinstance(script, str) else script(prompt, avoid_repeats)
        spoken = text.partition("<asr_text>")[2] if prompt.language else text
        spoken = spoken.removeprefix("language") if prompt.is_tag_begun else spoken
        return spoken.encode()[len(prompt.generated) :]


def _count(prompt: Prompt) -> TokenCounts:
    """A token of audio for each second."""
    return TokenCounts(
        text_input=len(prompt.context) + len(prompt.generated),
        audio_input=len(prompt.audio) // SAMPLE_RATE_HZ,
    )


class Listener:
    """A listener that collects partials, and asks for a stop after `max_checks` checks."""

    def __init__(self, *, max_checks: int = 1_000_000) -> None:
        self.texts: dict[int, str] = {}
        self.partials: list[tuple[int, str, str]] = []
        self.languages: dict[int, set[str | None]] = {}
        self.stop_checks = 0
        self._max_checks = max_checks

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Record the partial."""
        self.texts[window] = self.texts.get(window, "") + delta
        self.partials.append((window, delta, tail))
        if delta:
            self.languages.setdefault(window, set()).add(language)

    def is_stopped(self) -> bool:
        """Return whether there were more checks than `max_checks`."""
        self.stop_checks += 1
        return self.stop_checks > self._max_checks


def make_window(number: int, *, seconds: int = 4, index: int | None = None) -> Window:
    """A window of `number` in every sample; with an `index` it is a part of that window."""
    start = 100 * SAMPLE_RATE_HZ * (number + 1)
    span = Span(start, start + seconds * SAMPLE_RATE_HZ)
    samples = np.full(span.length, number, np.float32)
    return Window(
        index=number if index is None else index, spans=(span,), samples=samples, end_sample=span.end
    )
