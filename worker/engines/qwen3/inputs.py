"""The inputs of Qwen3-ASR for a batch: rows that were prepared one by one, padded to a common shape."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared.transcripts import TokenCounts
from worker.engines.protocol import Samples

PAD_TOKEN = 151_643
"""The id of `<|endoftext|>`, which pads rows of tokens."""

AUDIO_TOKEN = 151_676
"""The id of `<|audio_pad|>`, which stands in a prompt for each vector of its audio."""

# Half a second, as `qwen_asr` has it; the feature extractor fails on less than 201 samples.
_MIN_SAMPLES = 8_000


class PreparedRow(msgspec.Struct, frozen=True):
    """One prompt as numbers: its tokens, and its features of shape (bands, frames or more)."""

    tokens: list[int]
    features: npt.NDArray[np.float32]
    frames: int

    @property
    def token_counts(self) -> TokenCounts:
        """How many tokens are text, and how many stand for audio."""
        audio_tokens = self.tokens.count(AUDIO_TOKEN)
        return TokenCounts(len(self.tokens) - audio_tokens, audio_tokens)


def pad_samples(samples: Samples) -> Samples:
    """The samples, with silence behind them where they are too few for features."""
    return np.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples))))


def collate_rows(rows: Sequence[PreparedRow]) -> dict[str, npt.NDArray[np.generic]]:
    """The rows by the names that the model takes: tokens padded on the left, features on the right.

    Each row is as it would be alone. The processor takes batches as well, but the features at the end of a
    row then depend on how long the others are.
    """
    length = max(len(row.tokens) for row in rows)
    frames = max(row.frames for row in rows)
    input_ids = np.full((len(rows), length), PAD_TOKEN)
    attention_mask = np.zeros((len(rows), length), np.int64)
    features = np.zeros((len(rows), len(rows[0].features), frames), np.float32)
    feature_mask = np.zeros((len(rows), frames), np.int64)
    for number, row in enumerate(rows):
        input_ids[number, -len(row.tokens) :] = row.tokens
        attention_mask[number, -len(row.tokens) :] = 1
        features[number, :, : row.frames] = row.features[:, : row.frames]
        feature_mask[number, : row.frames] = 1
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "input_features": features,
        "feature_attention_mask": feature_mask,
    }


def choose_sampling(temperature: float) -> dict[str, Any]:
    """What `generate` takes: from all tokens by their probability, whatever the model's own settings."""
    if not temperature:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
