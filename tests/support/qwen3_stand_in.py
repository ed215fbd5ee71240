"""A stand-in for the model of Qwen3-ASR that generates scripted texts, and a listener of its partials."""

from collections.abc import Callable, Sequence

import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import TokenCounts
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.decoding import FollowTokens, OutOfDeviceMemory
from worker.engines.qwen3.inputs import GenerationOptions, Prompt

END = 151_645
ENGLISH = "language English<asr_text>"

# The text of a window, given the prompt and whether repeats are penalised.
Script = Callable[[Prompt, bool], str]


class ModelStandIn:
    """A model that generates its scripts byte by byte; the first sample of a window is its number."""

    def __init__(self, *scripts: str | Script, max_sequences: int = 100, is_counting: bool = False) -> None:
        self.calls: list[list[int]] = []
        self.contexts: list[str] = []
        self.temperatures: list[float] = []
        self._scripts = scripts
        self._most_rows = max_sequences
        self._is_counting = is_counting

    def decode_tokens(self, tokens: list[int]) -> str:
        """The text of `tokens`, which are bytes."""
        return bytes(tokens).decode("utf-8", errors="replace")

    def generate(
        self, prompts: Sequence[Prompt], follow: FollowTokens, options: GenerationOptions
    ) -> list[TokenCounts | None]:
        """Go on with the script of each prompt."""
        self.temperatures.append(options.temperature)
        self.calls.append([int(prompt.audio.read()[0]) for prompt in prompts])
        self.contexts += [prompt.context for prompt in prompts]
        if len(prompts) > self._most_rows:
            raise OutOfDeviceMemory
        texts = [self._continue(prompt, avoid_repeats=options.avoid_repeats) for prompt in prompts]
        for step in range(options.max_new_tokens):
            tokens = [text[step] if step < len(text) else END for text in texts]
            if all(follow(list(enumerate(tokens)))):
                break
        return [self._count(prompt) for prompt in prompts]

    def _count(self, prompt: Prompt) -> TokenCounts | None:
        """A token of audio for each second, if it counts."""
        if not self._is_counting:
            return None
        return TokenCounts(
            text_input=len(prompt.context) + len(prompt.generated),
            audio_input=len(prompt.audio) // SAMPLE_RATE_HZ,
        )

    def _continue(self, prompt: Prompt, *, avoid_repeats: bool) -> bytes:
        script = self._scripts[int(prompt.audio.read()[0])]
        text = script if isinstance(script, str) else script(prompt, avoid_repeats)
        spoken = text.partition("<asr_text>")[2] if prompt.language else text
        spoken = spoken.removeprefix("language") if prompt.is_tag_begun else spoken
        return spoken.encode()[len(prompt.generated) :]


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
