"""The detection of the language of clips: the model generates the language tag of its answer, and no more."""

from collections.abc import Iterator, Sequence

from worker.engines.protocol import DecodingListener, Samples, raise_if_stopped
from worker.engines.qwen3.decoding import OutOfDeviceMemory, TokenGenerator, language_code
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

        It is None if the model hears no speech, or names a language that it does not have.

        Raises:
            DecodingStopped: the listener asked for a stop.
            OutOfDeviceMemory: not even half of a batch fits into memory.
        """
        languages: list[str | None] = [None] * len(clips)
        for numbers in self._batch_by_length(clips):
            detected = self._detect_or_halve([clips[number] for number in numbers])
            for number, language in zip(numbers, detected, strict=True):
                languages[number] = language
        return languages

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

    def _detect_or_halve(self, clips: Sequence[Samples]) -> list[str | None]:
        try:
            return self._detect(clips)
        except OutOfDeviceMemory:
            middle = len(clips) // 2
            if not middle:
                raise
        return [language for half in (clips[:middle], clips[middle:]) for language in self._detect(half)]

    def _detect(self, clips: Sequence[Samples]) -> list[str | None]:
        answers = [_Answer(TokenText(self._generator.decode_tokens)) for _ in clips]

        def follow(tokens: Sequence[int]) -> list[bool]:
            raise_if_stopped(self._listener)
            for answer, token in zip(answers, tokens, strict=True):
                answer.push(token)
            return [answer.is_finished for answer in answers]

        raise_if_stopped(self._listener)
        self._generator.generate(
            [Prompt(clip, "", None, ()) for clip in clips], follow, GenerationOptions(_MAX_TAG_TOKENS)
        )
        return [answer.language for answer in answers]


class _Answer:
    """The model's answer about one clip, up to the end of the language tag."""

    def __init__(self, output: TokenText) -> None:
        self.is_finished = False
        self.language: str | None = None
        self._output = output

    def push(self, token: int) -> None:
        """Take the next token; tokens after the end of the tag are ignored."""
        if self.is_finished:
            return
        if token in END_TOKENS:
            self.is_finished = True
            return
        self._output.push(token)
        if tag := find_language_tag(self._output.text):
            self.is_finished = True
            self.language = tag.language if language_code(tag.language) else None
