"""The detection of the language of clips: the model generates the name of a language, mostly one token."""

from collections.abc import Iterator, Sequence
from itertools import repeat

from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import DecodingListener, raise_if_stopped
from worker.engines.qwen3.decoding import TokenGenerator, run_or_halve
from worker.engines.qwen3.inputs import END_TOKENS, Clip, GenerationOptions, Prompt

# The longest name, if each of its letters were a token.
_MAX_NAME_TOKENS = 16
# The answers in lower case, and what they mean.
_ANSWERS = {name.lower(): name for name in QWEN3_LANGUAGE_NAMES.values()} | {"none": None}


class LanguageDetector:
    """The model as a detector of languages.

    One batch has at most `max_samples`, with each clip padded to the longest.
    """

    def __init__(self, generator: TokenGenerator, listener: DecodingListener, *, max_samples: int) -> None:
        self._generator = generator
        self._listener = listener
        self._max_samples = max_samples

    def detect(self, clips: Sequence[Clip]) -> list[str | None]:
        """Return Qwen's name of the language in each clip.

        It is None if the model finds no speech, or names a language that it does not have.

        Raises:
            DecodingStopped: the listener requested a stop.
            OutOfDeviceMemory: not even half of a batch fits into memory.
        """
        languages: dict[int, str | None] = {}

        def detect(numbers: Sequence[int]) -> None:
            detected = self._detect([clips[number] for number in numbers])
            languages.update(zip(numbers, detected, strict=True))

        for batch in self._batch_by_length(clips):
            run_or_halve(detect, batch)
        return [languages[number] for number in range(len(clips))]

    def _batch_by_length(self, clips: Sequence[Clip]) -> Iterator[list[int]]:
        """Yield the numbers of `clips` in batches, the shortest first."""
        batch: list[int] = []
        for number in sorted(range(len(clips)), key=lambda number: len(clips[number])):
            if batch and (len(batch) + 1) * len(clips[number]) > self._max_samples:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def _detect(self, clips: Sequence[Clip]) -> list[str | None]:
        answers: list[list[int]] = [[] for _ in clips]
        languages: list[str | None] = [None] * len(clips)
        is_finished = [False] * len(clips)

        def follow(tokens: Sequence[tuple[int, int]]) -> list[bool]:
            raise_if_stopped(self._listener)
            for number, token in tokens:
                if is_finished[number] or token in END_TOKENS:
                    is_finished[number] = True
                    continue
                answers[number].append(token)
                name = self._generator.decode_tokens(answers[number]).strip().lower()
                languages[number] = _ANSWERS.get(name)
                is_finished[number] = name in _ANSWERS or not any(map(str.startswith, _ANSWERS, repeat(name)))
            return list(is_finished)

        raise_if_stopped(self._listener)
        self._generator.generate(
            [Prompt(clip, "", None, (), is_tag_begun=True) for clip in clips],
            follow,
            GenerationOptions(_MAX_NAME_TOKENS),
        )
        return languages
