"""Which texts get word timestamps, and when the aligner is loaded for them."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec
import structlog

from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.languages import language_name
from worker.engines.protocol import (
    DecodingListener,
    DecodingStopped,
    ModelUnavailable,
    Samples,
    WordsUnsupported,
)
from worker.engines.qwen3.aligner_words import AlignedUnit, is_spoken, make_words
from worker.engines.qwen3.decoding import OutOfDeviceMemory
from worker.engines.qwen3.parts import DecodedPart, find_bounds_s

_logger = structlog.get_logger(__name__)


class Aligner(Protocol):
    """What finds times; see `worker.engines.qwen3.aligner.Qwen3Aligner`."""

    def align(self, samples: Samples, text: str, language: str) -> list[AlignedUnit]:
        """The words of `text`, without its punctuation, and their times."""


class WordTimer:
    """Gives parts in some languages their words, by an aligner that `load` loads at the first use."""

    def __init__(self, load: Callable[[], Aligner], languages: Collection[str]) -> None:
        self._load = load
        self._languages = languages
        self._aligner: Aligner | None = None
        self._is_missing = False  # it could not be loaded; only a request that needs it tries again

    def time_words(
        self, parts: Sequence[DecodedPart], request: TranscriptionRequest, listener: DecodingListener
    ) -> list[DecodedPart]:
        """The `parts`, those with text with their words, as far as the request wants them.

        Raises:
            DecodingStopped: the listener said stop.
            WordsUnsupported: they are required, and a part is in a language that has none.
            ModelUnavailable: they are required, and the aligner cannot be had.
            OutOfDeviceMemory: they are required, and the device has too little memory.
        """
        match request.word_timestamps:
            case WordTimestamps.NONE:
                return list(parts)
            case WordTimestamps.WELCOME:
                return [self._time_if_possible(part, listener) for part in parts]
            case WordTimestamps.REQUIRED:
                self._check_languages(parts)
                return [self._time(part, listener) if is_spoken(part.text) else part for part in parts]

    def _time_if_possible(self, part: DecodedPart, listener: DecodingListener) -> DecodedPart:
        if self._is_missing or part.language not in self._languages or not is_spoken(part.text):
            return part
        try:
            return self._time(part, listener)
        except ModelUnavailable as error:
            self._is_missing = self._aligner is None
            _logger.warning("words_left_out", reason=str(error))
        except OutOfDeviceMemory as error:
            _logger.warning("words_left_out", reason=str(error))
        return part

    def _time(self, part: DecodedPart, listener: DecodingListener) -> DecodedPart:
        if listener.is_stopped():
            raise DecodingStopped
        language = part.language or ""  # that there is one was seen to before
        units = self._find_aligner().align(part.window.samples, part.text, language)
        return msgspec.structs.replace(part, words=make_words(part.window, part.text, units))

    def _find_aligner(self) -> Aligner:
        if self._aligner is None:
            self._aligner = self._load()
            self._is_missing = False
        return self._aligner

    def _check_languages(self, parts: Sequence[DecodedPart]) -> None:
        for part in parts:
            if is_spoken(part.text) and part.language not in self._languages:
                start_s, end_s = find_bounds_s(part.window)
                heard = (
                    language_name(part.language) if part.language else "a language that was not recognised"
                )
                raise WordsUnsupported(
                    f"The speech from {start_s:.2f} s to {end_s:.2f} s is in {heard}, for which this engine "
                    "gives no word timestamps. Ask for none, or name the language if this is another one."
                )
