"""The Whisper model: encodes a window once, then detects its language and generates its text."""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.protocol import Samples
from worker.engines.whisper.passes import FRAMES_PER_S, EncodedWindow, Pass, repeats_itself

FALLBACK_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The temperatures of OpenAI's own program, tried in this order."""

# A draft encodes the window and some silence, at least 10 s. A frame has 10 ms.
_DRAFT_MIN_FRAMES = 1_000
_DRAFT_SILENCE_FRAMES = 200
_DRAFT_TOKENS_PER_S = 12


class DecodingOptions(msgspec.Struct, frozen=True):
    """The options of a decoding. `language` is Whisper's code; `prompt` precedes the text.

    The first of the `temperatures` is used, and the next one if the text is not plausible.
    """

    language: str
    beam_size: int
    word_timestamps: bool
    prompt: str | None
    temperatures: tuple[float, ...]


class WhisperModel:
    """A CTranslate2 Whisper model in memory, with 8-bit weights, on the CPU.

    `faster_whisper.WhisperModel.transcribe` encodes a window twice if it has to detect the language. It also
    encodes and decodes again what follows the last timestamp of a window, even half a second of silence. Each
    encoding takes half a second on two cores. So this class calls its steps one by one. Calls from
    `parallel_windows` threads run at the same time, and share the weights.
    """

    def __init__(self, folder: Path, *, cpu_threads: int, parallel_windows: int = 1) -> None:
        import faster_whisper

        self._model: Any = faster_whisper.WhisperModel(
            *(str(folder), "cpu"),
            compute_type="int8",
            cpu_threads=cpu_threads,
            num_workers=parallel_windows,
        )
        # Nothing is decoded here: the call only fills in the library's own options.
        _, described = self._model.transcribe(
            np.zeros(SAMPLE_RATE_HZ, np.float32), language="en", log_progress=False
        )
        self._options: Any = described.transcription_options
        self._tokenizers: dict[str, Any] = {}

    def encode(self, samples: Samples, pauses: Sequence[int] = ()) -> EncodedWindow:
        """Encode at most 30 s of `samples`, float32 in -1..1 at 16 kHz, shape (n,).

        `pauses` are samples in mid-silence, each before a speech region.
        """
        # The last frame is padding, which decoding leaves out too.
        features = self._model.feature_extractor(samples)[:, :-1]
        frames = tuple(pause * FRAMES_PER_S // SAMPLE_RATE_HZ for pause in pauses)
        return EncodedWindow(features, self._encode_from(features, 0), frames)

    def _encode_from(self, features: Any, frame: int) -> Any:
        from faster_whisper.audio import pad_or_trim

        return self._model.encode(pad_or_trim(features[:, frame:]))

    def draft(self, samples: Samples, language: str | None) -> tuple[str, str]:
        """Return a guess at the text of a window, empty if not plausible, and its language as Whisper's code.

        This takes about a fifth of the time of decoding. Whisper was trained on 30 s at a time, and encoding
        that much is most of the work. Encoding less gives nearly the same text, but now and then no text or
        a loop.
        """
        from faster_whisper.audio import pad_or_trim

        features = self._model.feature_extractor(samples)[:, :-1]
        frames = features.shape[1] + _DRAFT_SILENCE_FRAMES
        brief = max(_DRAFT_MIN_FRAMES, min(frames, self._model.feature_extractor.nb_max_frames))
        encoding = self._model.encode(pad_or_trim(features, brief))
        if language is None:
            language, _ = self.detect_language(EncodedWindow(features, encoding))
        tokenizer = self._open_tokenizer(language)
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = len(prompt) + int(_DRAFT_TOKENS_PER_S * len(samples) / SAMPLE_RATE_HZ)
        (answer,) = self._model.model.generate(encoding, [prompt], beam_size=1, max_length=limit)
        text = tokenizer.decode(answer.sequences_ids[0]).strip()
        return "" if repeats_itself(text) else text, language

    def detect_language(self, window: EncodedWindow) -> tuple[str, float]:
        """Return the likeliest language, as Whisper's code, and its probability."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        token, probability = self._model.model.detect_language(window.encoding)[0][0]
        return token.strip("<|>"), probability

    def choose_language(self, window: EncodedWindow, codes: Collection[str]) -> tuple[str, float]:
        """Return the likeliest of Whisper's `codes`, and its probability if no other may be spoken."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        found = self._model.model.detect_language(window.encoding)[0]
        among = [(code, share) for token, share in found if (code := token.strip("<|>")) in codes]
        code, share = max(among, key=lambda named: named[1])
        return code, share / max(sum(share for _, share in among), sys.float_info.min)

    def generate(self, window: EncodedWindow, options: DecodingOptions) -> Iterator[Any]:
        """Return faster-whisper's segments in order. A rest of the window is encoded when it is reached."""
        described = replace(
            self._options,
            beam_size=options.beam_size,
            initial_prompt=options.prompt,
            word_timestamps=options.word_timestamps,
            temperatures=options.temperatures,
        )
        tokenizer = self._open_tokenizer(options.language)
        frame, encoding = 0, window.encoding
        while frame < window.frames:
            if frame:
                encoding = self._encode_from(window.features, frame)
            one_pass = Pass(self._model, tokenizer, described, window=window, frame=frame)
            yield from one_pass.decode(encoding)
            frame = one_pass.next_frame

    def _open_tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]
