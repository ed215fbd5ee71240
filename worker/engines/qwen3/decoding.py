"""The decoding of a batch of rows: generations, their repairs, and partials meanwhile.

Both engines share it: a `TokenGenerator` is the model on torch or on vLLM.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import NamedTuple, Protocol

import structlog

from shared.jobs import FailureCode
from shared.transcripts import TokenCounts, join_texts
from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import Row, RowFailure
from worker.engines.qwen3.inputs import GenerationOptions, Prompt
from worker.engines.qwen3.language_regions import CutWindows
from worker.engines.qwen3.sequence import SequenceRules, SequenceState
from worker.engines.qwen3.text import clean_context
from worker.engines.qwen3.transcripts import DecodedPart

_CODES = {name.lower(): code for code, name in QWEN3_LANGUAGE_NAMES.items()}

_logger = structlog.get_logger(__name__)

FollowTokens = Callable[[Sequence[tuple[int, int]]], Sequence[bool]]
"""A callback that takes new tokens as (number of the prompt, token) in the order of generation.

It returns for each prompt whether its sequence is finished, which a stop makes so, and ignores tokens of
finished sequences. A generator calls it after each step, even without tokens.
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
            DecodingStopped: `follow` raised it, in language detection.
            OutOfDeviceMemory: the device has too little memory for so many prompts.
        """


class JobDecoding:
    """The rows of one job in a batch: the texts of their parts, and partials meanwhile.

    `cuts` are the windows of the rows, cut into parts of one language each.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        cuts: Sequence[CutWindows],
        decode: Callable[[list[int]], str],
        rules: SequenceRules,
    ) -> None:
        request = rows[0].request
        self.rows = rows
        self.request = request
        self.listener = rows[0].listener
        self.temperature = request.temperature or 0.0
        self.failure: RowFailure | None = None
        self.is_stopped = False
        """Whether the listener requested a stop, at the last check."""
        self.warnings = {index: found for cut in cuts for index, found in cut.warnings.items()}
        parts = [part for cut in cuts for part in cut.parts]
        forced = QWEN3_LANGUAGE_NAMES[request.language_hint] if request.language_hint else None
        context = clean_context(request.context)
        self.sequences = [
            SequenceState(part, context=context, language=forced, decode=decode, rules=rules)
            for part in parts
        ]
        self._published = {part.index: ("", "") for part in parts}  # all deltas, and the last tail

    @property
    def is_over(self) -> bool:
        """Whether the job needs no more tokens: it has failed, or was stopped at the last check."""
        return self.failure is not None or self.is_stopped

    def check_stop(self) -> None:
        """Look once whether the listener requests a stop."""
        self.is_stopped = self.is_stopped or self.listener.is_stopped()

    def collect_parts(self) -> list[DecodedPart]:
        """Return the text of each part, in order."""
        return [
            DecodedPart(one.window, one.text, language, tuple(one.faults), token_counts=one.token_counts)
            for one, language in zip(self.sequences, self._find_languages(), strict=True)
        ]

    def publish(self) -> None:
        """Publish new text. Text after a sequence that is not accepted yet is only a tail.

        A delta belongs to the end of the transcript so far, so all text before it must be complete.
        """
        is_first_open = True
        pairs = zip(self.sequences, self._find_languages(), strict=True)
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
                self.listener.on_partial(index, delta, tail, first_language)
                self._published[index] = (released, tail)

    def _find_languages(self) -> Iterator[str | None]:
        """Yield the language of each sequence, or the language of the text before it."""
        previous = self.rows[0].previous_language
        for sequence in self.sequences:
            language = self.request.language_hint or language_code(sequence.language) or previous
            yield language
            previous = language if sequence.text else previous


class _OpenSequence(NamedTuple):
    """A sequence that needs more tokens, and its job."""

    job: JobDecoding
    sequence: SequenceState

    @property
    def options(self) -> tuple[bool, float]:
        """What the sequences of one call share: the repetition penalty, and the temperature."""
        return self.sequence.avoids_repeats, self.job.temperature

    @property
    def needs_tokens(self) -> bool:
        return not (self.sequence.is_accepted or self.job.is_over)


class BatchDecoding:
    """The decoding of the rows of some jobs at once."""

    def __init__(self, generator: TokenGenerator, jobs: Sequence[JobDecoding]) -> None:
        self._generator = generator
        self._jobs = jobs
        # Parts of windows are shorter than windows. So as many of them as there are rows fit into memory.
        self._max_sequences = sum(len(job.rows) for job in jobs)
        self.max_fitting: int | None = None
        """The most sequences that fit after the device had too little memory; None if it had enough."""

    def decode(self) -> None:
        """Generate the text of all jobs. A job that fails gets its `failure`, and the others go on."""
        while waiting := self._find_open():
            for _, sequences in groupby(waiting, key=attrgetter("options")):
                while batch := list(islice(sequences, self._max_sequences)):
                    self._generate_or_halve(batch)
            for job in self._jobs:
                job.publish()

    def _find_open(self) -> list[_OpenSequence]:
        """Return the sequences that need more tokens, those of one call beside each other."""
        sequences = (_OpenSequence(job, sequence) for job in self._jobs for sequence in job.sequences)
        return sorted((one for one in sequences if one.needs_tokens), key=attrgetter("options"))

    def _generate_or_halve(self, batch: Sequence[_OpenSequence]) -> None:
        """Generate all of `batch`, or each half if that fails, so that only the guilty job fails.

        The batch size is an estimate from the memory that was free after loading. Other programs on the GPU
        or a long context can use that memory.
        """
        middle = len(batch) // 2
        try:
            self._generate(batch)
        except Exception as error:  # border: an error fails the job that causes it
            if not middle:
                _logger.exception("engine_failed")
                batch[0].job.failure = RowFailure(FailureCode.ENGINE_ERROR, f"The engine failed: {error}")
                return
            if isinstance(error, OutOfDeviceMemory):
                self.max_fitting = min(middle, self.max_fitting or middle)
        else:
            return
        self._generate_or_halve(batch[:middle])
        self._generate_or_halve(batch[middle:])

    def _generate(self, batch: Sequence[_OpenSequence]) -> None:
        def follow(tokens: Sequence[tuple[int, int]]) -> list[bool]:
            for number, token in tokens:
                if not opened[number].sequence.is_finished:
                    opened[number].sequence.push(token)
            for job in jobs:
                job.publish()
                job.check_stop()
            return [one.sequence.is_finished or one.job.is_over for one in opened]

        jobs = [job for job in self._jobs if any(one.job is job for one in batch)]
        for job in jobs:
            job.check_stop()
        opened = [one for one in batch if one.needs_tokens]
        if not opened:
            return
        options = GenerationOptions(
            max_new_tokens=max(one.sequence.tokens_left for one in opened),
            avoid_repeats=opened[0].sequence.avoids_repeats,
            temperature=opened[0].job.temperature,
        )
        try:
            counts = self._generator.generate([one.sequence.prompt for one in opened], follow, options)
        finally:  # halves go on from the tokens that came before
            for one in opened:
                one.sequence.end_generation()
        for one, prompt_counts in zip(opened, counts, strict=True):
            one.sequence.count_prompt(prompt_counts)


def language_code(name: str | None) -> str | None:
    """Return the ISO code of a language by Qwen's name, or None if the model has no such language."""
    return _CODES.get(name.strip().lower()) if name else None
