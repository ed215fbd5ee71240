"""The detection of the language of clips: the model generates the name of a language, mostly one token."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import DecodingStopped
from worker.engines.qwen3.decoding import OutOfDeviceMemory, TokenGenerator
from worker.engines.qwen3.inputs import END_TOKENS, Clip, GenerationOptions, Prompt

# The longest name, if each of its letters were a token.
_MAX_NAME_TOKENS = 16
# The answers in lower case, and what they mean.
_ANSWERS = {name.lower(): name for name in QWEN3_LANGUAGE_NAMES.values()} | {"none": None}


class LanguageDetector:
    """The model as a detector of languages.

    One batch has at most `max_samples`, with each clip padded to the longest.
    """

    def __init__(
        self, generator: TokenGenerator, is_stopped: Callable[[], bool], *, max_samples: int
    ) -> None:
        self._generator = generator
        self._is_stopped = is_stopped
        self._max_samples = max_samples

    def detect(self, clips: Sequence[Clip]) -> list[str | None]:
        """Return Qwen's name of the language in each clip.

        It is None if the model finds no speech, or names a language that it does not have.

        Raises:
            DecodingStopped: `is_stopped` returned true.
            OutOfDeviceMemory: not even half of a batch fits into memory.
        """
        languages: dict[int, str | None] = {}
        for batch in self._batch_by_length(clips):
            detected = self._detect_or_halve([clips[number] for number in batch])
            languages.update(zip(batch, detected, strict=True))
        return [languages[number] for number in range(len(clips))]

    def _detect_or_halve(self, clips: Sequence[Clip]) -> list[str | None]:
        """Detect all `clips` at once, or each half if the device has too little memory."""
        try:
            return self._detect(clips)
        except OutOfDeviceMemory:
            middle = len(clips) // 2
            if not middle:
                raise
        return self._detect_or_halve(clips[:middle]) + self._detect_or_halve(clips[middle:])

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

    def _raise_if_stopped(self) -> None:
        if self._is_stopped():
            raise DecodingStopped

    def _detect(self, clips: Sequence[Clip]) -> list[str | None]:
        answers: list[list[int]] = [[] for _ in clips]
        languages: list[str | None] = [None] * len(clips)
        is_finished = [False] * len(clips)

        def follow(tokens: Sequence[tuple[int, int]]) -> list[bool]:
            self._raise_if_stopped()
            for number, token in tokens:
                if is_finished[number] or token in END_TOKENS:
                    is_finished[number] = True
                    continue
                answers[number].append(token)
                name = self._generator.decode_tokens(answers[number]).strip().lower()
                languages[number] = _ANSWERS.get(name)
                is_finished[number] = name in _ANSWERS or not any(map(str.startswith, _ANSWERS, repeat(name)))
            return list(is_finished)

        self._raise_if_stopped()
        self._generator.generate(
            [Prompt(clip, "", None, (), is_tag_begun=True) for clip in clips],
            follow,
            GenerationOptions(_MAX_NAME_TOKENS),
        )
        return languages
