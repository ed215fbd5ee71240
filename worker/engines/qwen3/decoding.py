"""The decoding of a batch of windows: generations, their repairs, and partials meanwhile.

Both engines share it: a `TokenGenerator` is the model on torch or on vLLM.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Protocol, TypeVar

from shared.jobs import TranscriptionRequest
from shared.transcripts import TokenCounts, join_texts
from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import DecodingListener, Window, raise_if_stopped
from worker.engines.qwen3.inputs import GenerationOptions, Prompt
from worker.engines.qwen3.sequence import SequenceRules, SequenceState
from worker.engines.qwen3.text import clean_context
from worker.engines.qwen3.transcripts import DecodedPart

_CODES = {name.lower(): code for code, name in QWEN3_LANGUAGE_NAMES.items()}

Item = TypeVar("Item")

FollowTokens = Callable[[Sequence[tuple[int, int]]], Sequence[bool]]
"""A callback that takes new tokens as (number of the prompt, token) in the order of generation.

It returns for each prompt whether its sequence is finished, and ignores tokens of finished sequences. It also
checks for a stop. So a generator calls it after each step, even without tokens.
"""


class OutOfDeviceMemory(Exception):
    """Raised by a generator if the device has too little memory for so many sequences."""


class TokenGenerator(Protocol):
    """The model, as far as it concerns decoding."""

    def decode_tokens(self, tokens: list[int]) -> str:
        """Return the text of `tokens`; a character with missing bytes is U+FFFD."""

    def generate(
        self, prompts: Sequence[Prompt], follow: FollowTokens, options: GenerationOptions
    ) -> Sequence[TokenCounts | None]:
        """Continue all `prompts` at once and call `follow` at each step, until no sequence needs more tokens.

        Return the text and audio tokens of each prompt, or None if they were not counted.

        Raises:
            DecodingStopped: `follow` raised it.
            OutOfDeviceMemory: the device has too little memory for so many prompts.
        """


class BatchDecoding:
    """The decoding of some windows of one upload at once."""

    def __init__(
        self,
        generator: TokenGenerator,
        windows: Sequence[Window],
        request: TranscriptionRequest,
        listener: DecodingListener,
        rules: SequenceRules,
    ) -> None:
        self._generator = generator
        self._listener = listener
        self._hint = request.language_hint
        self._temperature = request.temperature or 0.0
        forced = QWEN3_LANGUAGE_NAMES[self._hint] if self._hint else None
        self._sequences = [
            SequenceState(
                window,
                context=clean_context(request.context),
                language=forced,
                decode=generator.decode_tokens,
                rules=rules,
            )
            for window in windows
        ]
        # Parts of windows are shorter than windows. So as many of them as there are windows fit into memory.
        self._max_sequences = len({window.index for window in windows})
        self._published = {window.index: ("", "") for window in windows}  # all deltas, and the last tail
        self._previous_language: str | None = None

    def decode(self, *, previous_language: str | None) -> list[DecodedPart]:
        """Return the text of each window, in order.

        `previous_language` is the language of text for which the model names none.

        Raises:
            DecodingStopped: the listener requested a stop.
            OutOfDeviceMemory: not even half of the windows fit into memory.
        """
        self._previous_language = previous_language
        while waiting := [sequence for sequence in self._sequences if not sequence.is_accepted]:
            # The repetition penalty holds for a whole generation.
            avoids_repeats = attrgetter("avoids_repeats")
            waiting.sort(key=avoids_repeats)
            for _, sequences in groupby(waiting, key=avoids_repeats):
                while batch := list(islice(sequences, self._max_sequences)):
                    run_or_halve(self._generate, batch)
            self._publish()
        return [
            DecodedPart(one.window, one.text, language, tuple(one.faults), token_counts=one.token_counts)
            for one, language in zip(self._sequences, self._find_languages(), strict=True)
        ]

    def _find_languages(self) -> Iterator[str | None]:
        """Yield the language of each sequence, or the language of the text before it."""
        previous = self._previous_language
        for sequence in self._sequences:
            language = self._hint or language_code(sequence.language) or previous
            yield language
            previous = language if sequence.text else previous

    def _generate(self, batch: Sequence[SequenceState]) -> None:
        def follow(tokens: Sequence[tuple[int, int]]) -> list[bool]:
            raise_if_stopped(self._listener)
            for number, token in tokens:
                if not sequences[number].is_finished:
                    sequences[number].push(token)
            self._publish()
            return [sequence.is_finished for sequence in sequences]

        raise_if_stopped(self._listener)
        sequences = [sequence for sequence in batch if not sequence.is_accepted]
        if not sequences:
            return
        options = GenerationOptions(
            max_new_tokens=max(sequence.tokens_left for sequence in sequences),
            avoid_repeats=sequences[0].avoids_repeats,
            temperature=self._temperature,
        )
        try:
            counts = self._generator.generate([sequence.prompt for sequence in sequences], follow, options)
        finally:  # halves go on from the tokens that came before memory ran out
            for sequence in sequences:
                sequence.end_generation()
        for sequence, prompt_counts in zip(sequences, counts, strict=True):
            sequence.count_prompt(prompt_counts)

    def _publish(self) -> None:
        """Publish new text. Text after a sequence that is not accepted yet is only a tail.

        A delta belongs to the end of the transcript so far, so all text before it must be complete.
        """
        is_first_open = True
        pairs = zip(self._sequences, self._find_languages(), strict=True)
        for index, parts in groupby(pairs, key=lambda pair: pair[0].window.index):
            texts, final = [], []
            for sequence, language in parts:
                texts.append((sequence.text, language))
                final.append((sequence.released if is_first_open else "", language))
                is_first_open = is_first_open and sequence.is_accepted
            published, last_tail = self._published[index]
            released = join_texts(final)
            delta, tail = released[len(published) :], join_texts(texts)[len(released) :]
            if delta or tail != last_tail:
                first_language = next((language for text, language in final if text), None)
                self._listener.on_partial(index, delta, tail, first_language)
                self._published[index] = (released, tail)


def run_or_halve(run: Callable[[Sequence[Item]], None], items: Sequence[Item]) -> None:
    """Run a generation on all `items` at once, or on each half if the device has too little memory.

    The batch size is an estimate from the memory that was free after loading. Other programs on the GPU or a
    long context can use that memory.

    Raises:
        OutOfDeviceMemory: there is only one item, or a half does not fit either.
    """
    try:
        run(items)
    except OutOfDeviceMemory:
        middle = len(items) // 2
        if not middle:
            raise
        run(items[:middle])
        run(items[middle:])


def language_code(name: str | None) -> str | None:
    """Return the ISO code of a language by Qwen's name, or None if the model has no such language."""
    return _CODES.get(name.strip().lower()) if name else None
