"""One window through faster-whisper: encoded once, for telling its language and for its text."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.protocol import Samples

FALLBACK_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Those that OpenAI's own program tries."""


# A draft is made from the window and some silence, and never from less than 10 s.
_DRAFT_MIN_FRAMES = 1_000
_DRAFT_SILENCE_FRAMES = 200
_DRAFT_TOKENS_PER_S = 12

# Text that can be packed better than this repeats itself; the number is OpenAI's.
_MAX_COMPRESSION = 2.4


class DecodingOptions(msgspec.Struct, frozen=True):
    """How a window is decoded. `language` is a code of Whisper's; `prompt` precedes the text.

    The first of the `temperatures` is taken, and the next one where the text that came is not plausible.
    """

    language: str
    beam_size: int
    word_timestamps: bool
    prompt: str | None
    temperatures: tuple[float, ...] = FALLBACK_TEMPERATURES


class EncodedWindow(NamedTuple):
    """The samples of a window, and what faster-whisper made of them so far."""

    samples: Samples
    features: Any
    encoding: Any


class Draft(NamedTuple):
    """A first guess at the text of a window, empty where it is not plausible, and Whisper's code."""

    text: str
    language: str


class WhisperModel:
    """A CTranslate2 Whisper model in memory, with 8-bit weights, on the CPU.

    `faster_whisper.WhisperModel.transcribe` encodes a window twice where it has to detect the language,
    which takes half a second each time on two cores. Here its steps are taken one by one instead.
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

    def draft(self, samples: Samples, language: str | None) -> Draft:
        """Guess the text of a short window in a fraction of the time that its decoding takes.

        Whisper was trained on 30 s at a time, and encoding as much is most of the work. Less is enough for
        nearly the same text, but now and then for none, or for a loop: so this is good for a draft only.
        """
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.tokenizer import Tokenizer

        features = self._model.feature_extractor(samples)
        frames = features.shape[1] + _DRAFT_SILENCE_FRAMES
        brief = max(_DRAFT_MIN_FRAMES, min(frames, self._model.feature_extractor.nb_max_frames))
        encoding = self._model.encode(pad_or_trim(features[:, :-1], brief))
        if language is None:
            language, _ = self.detect_language(EncodedWindow(samples, features, encoding))
        multilingual = self._model.model.is_multilingual
        tokenizer = Tokenizer(self._model.hf_tokenizer, multilingual, task="transcribe", language=language)
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = len(prompt) + int(_DRAFT_TOKENS_PER_S * len(samples) / SAMPLE_RATE_HZ)
        (answer,) = self._model.model.generate(encoding, [prompt], beam_size=1, max_length=limit)
        text = tokenizer.decode(answer.sequences_ids[0]).strip()
        return Draft(text if _is_plausible(text) else "", language)

    def detect_language(self, window: EncodedWindow) -> tuple[str, float]:
        """The likeliest language, as Whisper's code, and its probability."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        token, probability = self._model.model.detect_language(window.encoding)[0][0]
        return token.strip("<|>"), probability

    def generate(self, window: EncodedWindow, options: DecodingOptions) -> Iterator[Any]:
        """The segments of faster-whisper, in order, as they are decoded."""
        from faster_whisper.tokenizer import Tokenizer

        # Nothing is decoded by this call before its segments are drawn: it fills in all other options.
        _, described = self._model.transcribe(
            window.samples,
            language=options.language,
            beam_size=options.beam_size,
            condition_on_previous_text=False,
            initial_prompt=options.prompt,
            word_timestamps=options.word_timestamps,
            temperature=options.temperatures,
        )
        tokenizer = Tokenizer(
            self._model.hf_tokenizer,
            self._model.model.is_multilingual,
            task="transcribe",
            language=described.language,
        )
        return self._model.generate_segments(  # type: ignore[no-any-return]
            window.features,
            tokenizer,
            described.transcription_options,
            log_progress=False,
            encoder_output=window.encoding,
        )


def _is_plausible(text: str) -> bool:
    raw = text.encode()
    return len(raw) <= _MAX_COMPRESSION * len(zlib.compress(raw))
