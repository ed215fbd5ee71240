"""The Whisper model: encodes a window once, then detects its language and generates its text."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.protocol import Samples

FALLBACK_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The temperatures of OpenAI's own program, tried in this order."""

# A draft encodes the window and some silence, at least 10 s. A frame has 10 ms.
_DRAFT_MIN_FRAMES = 1_000
_DRAFT_SILENCE_FRAMES = 200
_DRAFT_TOKENS_PER_S = 12

# Text that compresses better than this repeats itself; the number is OpenAI's.
_MAX_COMPRESSION = 2.4


class DecodingOptions(msgspec.Struct, frozen=True):
    """The options of a decoding. `language` is Whisper's code; `prompt` precedes the text.

    The first of the `temperatures` is used, and the next one if the text is not plausible.
    """

    language: str
    beam_size: int
    word_timestamps: bool
    prompt: str | None
    temperatures: tuple[float, ...]


class EncodedWindow(NamedTuple):
    """The samples of a window with their features and encoding, in faster-whisper's types."""

    samples: Samples
    features: Any
    encoding: Any


class WhisperModel:
    """A CTranslate2 Whisper model in memory, with 8-bit weights, on the CPU.

    `faster_whisper.WhisperModel.transcribe` encodes a window twice if it has to detect the language. Each
    encoding takes half a second on two cores. So this class calls its steps one by one.
    """

    def __init__(self, folder: Path, *, cpu_threads: int) -> None:
        import faster_whisper

        self._model: Any = faster_whisper.WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=cpu_threads
        )

    def encode(self, samples: Samples) -> EncodedWindow:
        """Encode at most 30 s of `samples`, float32 in -1..1 at 16 kHz, shape (n,)."""
        from faster_whisper.audio import pad_or_trim

        features = self._model.feature_extractor(samples)
        # The last frame is padding, which decoding leaves out too.
        return EncodedWindow(samples, features, self._model.encode(pad_or_trim(features[:, :-1])))

    def draft(self, samples: Samples, language: str | None) -> tuple[str, str]:
        """Return a guess at the text of a window, empty if not plausible, and its language as Whisper's code.

        This takes about a fifth of the time of decoding. Whisper was trained on 30 s at a time, and encoding
        that much is most of the work. Encoding less gives nearly the same text, but now and then no text or
        a loop.
        """
        from faster_whisper.audio import pad_or_trim

        features = self._model.feature_extractor(samples)
        frames = features.shape[1] + _DRAFT_SILENCE_FRAMES
        brief = max(_DRAFT_MIN_FRAMES, min(frames, self._model.feature_extractor.nb_max_frames))
        encoding = self._model.encode(pad_or_trim(features[:, :-1], brief))
        if language is None:
            language, _ = self.detect_language(EncodedWindow(samples, features, encoding))
        tokenizer = self._open_tokenizer(language)
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = len(prompt) + int(_DRAFT_TOKENS_PER_S * len(samples) / SAMPLE_RATE_HZ)
        (answer,) = self._model.model.generate(encoding, [prompt], beam_size=1, max_length=limit)
        text = tokenizer.decode(answer.sequences_ids[0]).strip()
        return text if _is_plausible(text) else "", language

    def detect_language(self, window: EncodedWindow) -> tuple[str, float]:
        """Return the likeliest language, as Whisper's code, and its probability."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        token, probability = self._model.model.detect_language(window.encoding)[0][0]
        return token.strip("<|>"), probability

    def generate(self, window: EncodedWindow, options: DecodingOptions) -> Iterator[Any]:
        """Return faster-whisper's segments in order, each decoded when it is taken."""
        # This call only fills in the other options: it decodes nothing before its segments are taken.
        _, described = self._model.transcribe(
            window.samples,
            language=options.language,
            beam_size=options.beam_size,
            condition_on_previous_text=False,
            initial_prompt=options.prompt,
            word_timestamps=options.word_timestamps,
            temperature=options.temperatures,
        )
        return self._model.generate_segments(  # type: ignore[no-any-return]
            window.features,
            self._open_tokenizer(described.language),
            described.transcription_options,
            log_progress=False,
            encoder_output=window.encoding,
        )

    def _open_tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task="transcribe", language=language)


def _is_plausible(text: str) -> bool:
    raw = text.encode()
    return len(raw) <= _MAX_COMPRESSION * len(zlib.compress(raw))
