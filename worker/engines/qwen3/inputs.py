"""The inputs of Qwen3-ASR: prompts, and sequences prepared one by one and padded to a common shape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import TokenCounts
from worker.engines.protocol import Samples

END_TOKENS = frozenset({151_643, 151_645})
"""The ids of `<|endoftext|>` and `<|im_end|>`, which `qwen_asr` also has as constants."""

AUDIO_TOKEN = 151_676
"""The id of `<|audio_pad|>`, which stands in a prompt for each vector of its audio."""

FRAME_SAMPLES = 160
"""The samples of a frame of features."""

_REPETITION_PENALTY = 1.2

# Half a second, as in `qwen_asr`. The feature extractor fails on less than 201 samples.
_MIN_SAMPLES = 8_000


class Clip(msgspec.Struct, frozen=True):
    """A part of `samples`. What is computed of all samples once serves all of their clips."""

    samples: Samples
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def read(self) -> Samples:
        """Return the samples of the clip."""
        return self.samples[self.start : self.end]


def take_all(samples: Samples) -> Clip:
    """Return all of the samples as a clip."""
    return Clip(samples, 0, len(samples))


class Prompt(msgspec.Struct, frozen=True):
    """The input of a generation: `language` is Qwen's name of a forced language.

    `generated` are the tokens of the output so far, from which the model goes on. If `is_tag_begun`, the
    output begins after the first word of the language tag: it is the name of a language.
    """

    audio: Clip
    context: str
    language: str | None
    generated: tuple[int, ...]
    is_tag_begun: bool = False


class GenerationOptions(msgspec.Struct, frozen=True):
    """The options of a generation; a `temperature` of 0 takes the likeliest tokens, others draw them."""

    max_new_tokens: int
    avoid_repeats: bool = False
    temperature: float = 0.0

    @property
    def kind(self) -> tuple[bool, float]:
        """What generations of one call on torch share: all but the number of tokens."""
        return self.avoid_repeats, self.temperature

    @property
    def repetition_penalty(self) -> float:
        """The penalty for tokens that came before."""
        return _REPETITION_PENALTY if self.avoid_repeats else 1.0


class PreparedSequence(msgspec.Struct, frozen=True):
    """A prompt as numbers: its tokens, and the vectors of its audio, one for each audio token."""

    tokens: list[int]
    audio: Any

    @property
    def token_counts(self) -> TokenCounts:
        """The numbers of text tokens and audio tokens."""
        audio_tokens = self.tokens.count(AUDIO_TOKEN)
        return TokenCounts(len(self.tokens) - audio_tokens, audio_tokens)


class PromptProcessor:
    """Qwen's processor of a model: its chat template, its tokenizer and its feature extractor."""

    def __init__(self, folder: Path) -> None:
        self._processor: Any = load_processor(folder)
        self._tokenizer: Any = self._processor.tokenizer.backend_tokenizer

    def decode(self, tokens: list[int]) -> str:
        """Return the text of `tokens`; a character with missing bytes is U+FFFD."""
        # For each token, so without transformers' own `decode`, which takes five times as long.
        return self._tokenizer.decode(tokens, skip_special_tokens=True)  # type: ignore[no-any-return]

    def build_prompt(self, context: str, language: str | None) -> str:
        """Return the prompt up to the model's answer, with one audio token for all of the audio.

        `language` is Qwen's name of a forced language: the answer then begins after its language tag.
        """
        messages = [
            {"role": "system", "content": context},
            {"role": "user", "content": [{"type": "audio", "audio": ""}]},
        ]
        opened: str = self._processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return f"{opened}language {language}<asr_text>" if language else opened

    def tokenize(self, prompt: Prompt, *, audio_tokens: int = 1) -> list[int]:
        """Return the tokens of `prompt`, with so many audio tokens for all of its audio."""
        opened = self.build_prompt(prompt.context, prompt.language)
        text = f"{opened}language" if prompt.is_tag_begun else opened
        tokens: list[int] = []
        for token in self._processor.tokenizer(text)["input_ids"]:
            tokens += [token] * (audio_tokens if token == AUDIO_TOKEN else 1)
        return [*tokens, *prompt.generated]

    def extract_features(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Return the features of the samples, of shape (bands, frames)."""
        features = self._processor.feature_extractor(
            [pad_samples(samples)],
            sampling_rate=SAMPLE_RATE_HZ,
            padding=True,
            truncation=False,
            return_tensors="np",
        )
        return features["input_features"][0]  # type: ignore[no-any-return]


def load_processor(folder: Path) -> Any:
    """Return Qwen's processor of the model in `folder`."""
    from qwen_asr.core.transformers_backend import Qwen3ASRProcessor

    # With the flag, transformers would split the words of a local model as Mistral's tokenizer does.
    return Qwen3ASRProcessor.from_pretrained(str(folder), fix_mistral_regex=False)


def pad_samples(samples: Samples) -> Samples:
    """Return the samples, followed by silence if they are too few for features."""
    return np.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples))))


class PaddedTokens(msgspec.Struct, frozen=True):
    """Sequences of tokens as an array of shape (sequences, tokens), and a mask of the same shape."""

    tokens: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]


def pad_tokens(sequences: Sequence[Sequence[int]]) -> PaddedTokens:
    """Return the sequences, padded on the left to the length of the longest. The mask is 0 there.

    A sequence is padded with its own first token, so that the penalty for repeats finds no other token in it.
    """
    shape = len(sequences), max(map(len, sequences))
    tokens, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, sequence in enumerate(sequences):
        tokens[row] = sequence[0]
        tokens[row, -len(sequence) :] = sequence
        mask[row, -len(sequence) :] = 1
    return PaddedTokens(tokens, mask)
