"""The limits of a sequence: its tokens, its repairs, and the text that is held back."""

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.qwen3.text import LoopRule


class SequenceRules(msgspec.Struct, frozen=True):
    """The limits of a sequence.

    A window may take `min_tokens` plus `tokens_per_s` for its audio, or `max_new_tokens` if given. A text
    that is truncated there goes on up to `truncation_repairs` times, each time with twice as many tokens,
    unless `repair_within_s` seconds have passed since its first token. An output without a language tag in
    its first `max_tag_tokens` tokens is all text, and does not go on when it is truncated. The last
    `hold_back` characters are not final: more than the longest period and the shortest length of a loop, and
    more than a passage of the context that counts as an echo.
    """

    min_tokens: int = 64
    tokens_per_s: float = 15.0
    max_new_tokens: int | None = None
    max_tag_tokens: int = 48
    truncation_repairs: int = 2
    repair_within_s: float = 30.0
    hold_back: int = 80
    loop: LoopRule = LoopRule()

    def count_max_tokens(self, samples: int) -> int:
        """Return the number of tokens after which a text for so many samples of audio is truncated."""
        audio_tokens = round(samples / SAMPLE_RATE_HZ * self.tokens_per_s)
        return self.max_new_tokens or self.min_tokens + audio_tokens


DEFAULT_RULES = SequenceRules()
