"""The detection of the language of clips: the model generates the name of a language, mostly one token."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

from shared.transcripts import TokenCounts
from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import DecodingStopped
from worker.engines.qwen3.inputs import END_TOKENS, Clip, GenerationOptions, Prompt
from worker.engines.qwen3.token_generator import OutOfDeviceMemory, TokenGenerator

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
        self._raise_if_stopped()
        answers = [_Answer(clip, self._generator.decode_tokens, self._is_stopped) for clip in clips]
        self._generator.start(answers)
        try:
            while not all(answer.is_finished for answer in answers):
                self._generator.step()
                self._raise_if_stopped()
        finally:
            self._generator.drop(answers)
        return [answer.language for answer in answers]


class _Answer:
    """The generation of the name of a language: a `token_generator.Generation`."""

    options = GenerationOptions(_MAX_NAME_TOKENS)

    def __init__(
        self, clip: Clip, decode: Callable[[list[int]], str], is_stopped: Callable[[], bool]
    ) -> None:
        self.prompt = Prompt(clip, "", None, (), is_tag_begun=True)
        self.is_stopped = is_stopped
        self.language: str | None = None
        self.is_finished = False
        self._decode = decode
        self._tokens: list[int] = []

    def push(self, token: int) -> None:
        """Take the next token."""
        if token in END_TOKENS:
            self.is_finished = True
            return
        self._tokens.append(token)
        name = self._decode(self._tokens).strip().lower()
        self.language = _ANSWERS.get(name)
        is_no_name = not any(map(str.startswith, _ANSWERS, repeat(name)))
        self.is_finished = name in _ANSWERS or is_no_name or len(self._tokens) == _MAX_NAME_TOKENS

    def count_prompt(self, counts: TokenCounts) -> None:
        """Ignore the tokens, which no client asked for."""

    def fail(self, message: str) -> None:  # noqa: ARG002 - as in the protocol
        """Name no language."""
        self.is_finished = True
