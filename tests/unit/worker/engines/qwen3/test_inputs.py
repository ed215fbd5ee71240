"""Sequences of different lengths are padded to one batch; the tokens of a prompt are counted."""

import numpy as np

from shared.transcripts import TokenCounts
from worker.engines.qwen3.inputs import AUDIO_TOKEN, PreparedSequence, pad_samples, pad_tokens


def test_tokens_are_padded_on_the_left_without_a_token_that_a_row_would_not_have_alone() -> None:
    padded = pad_tokens([[6, 7], [1, 2, 3, 4]])

    assert padded.tokens.tolist() == [[6, 6, 6, 7], [1, 2, 3, 4]]
    assert padded.mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


def test_all_tokens_but_audio_tokens_count_as_text() -> None:
    row = PreparedSequence([1, AUDIO_TOKEN, AUDIO_TOKEN, 2, 3], audio=None)

    assert row.token_counts == TokenCounts(text_input=3, audio_input=2)


def test_only_very_short_audio_is_padded() -> None:
    assert pad_samples(np.ones(1, np.float32)).tolist() == [1.0] + [0.0] * 7_999
    assert len(pad_samples(np.ones(9_000, np.float32))) == 9_000
