"""The detection of the language of clips: the model generates the language tag of its answer, and no more."""

from collections.abc import Iterator, Sequence

from worker.engines.protocol import DecodingListener, Samples, raise_if_stopped
from worker.engines.qwen3.decoding import TokenGenerator, language_code, run_or_halve
from worker.engines.qwen3.inputs import END_TOKENS, GenerationOptions, Prompt
from worker.engines.qwen3.text import TokenText, find_language_tag

# A language tag has three or four tokens. An answer without one in this many tokens has none.
_MAX_TAG_TOKENS = 48


class LanguageDetector:
    """The model as a detector of languages.

    One batch has at most `max_samples`, with each clip padded to the longest.
    """

    def __init__(self, generator: TokenGenerator, listener: DecodingListener, *, max_samples: int) -> None:
        self._generator = generator
        self._listener = listener
        self._max_samples = max_samples

    def detect(self, clips: Sequence[Samples]) -> list[str | None]:
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

    def _batch_by_length(self, clips: Sequence[Samples]) -> Iterator[list[int]]:
        """Yield the numbers of `clips` in batches, the shortest first."""
        batch: list[int] = []
        for number in sorted(range(len(clips)), key=lambda number: len(clips[number])):
            if batch and (len(batch) + 1) * len(clips[number]) > self._max_samples:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def _detect(self, clips: Sequence[Samples]) -> list[str | None]:
        outputs = [TokenText(self._generator.decode_tokens) for _ in clips]
        languages: list[str | None] = [None] * len(clips)
        is_finished = [False] * len(clips)

        def follow(tokens: Sequence[tuple[int, int]]) -> list[bool]:
            raise_if_stopped(self._listener)
            for number, token in tokens:
                if is_finished[number] or token in END_TOKENS:
                    is_finished[number] = True
                    continue
                outputs[number].push(token)
                if tag := find_language_tag(outputs[number].text):
                    is_finished[number] = True
                    languages[number] = tag.language if language_code(tag.language) else None
            return list(is_finished)

        raise_if_stopped(self._listener)
        self._generator.generate(
            [Prompt(clip, "", None, ()) for clip in clips], follow, GenerationOptions(_MAX_TAG_TOKENS)
        )
        return languages
