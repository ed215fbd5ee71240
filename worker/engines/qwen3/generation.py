"""The generation of tokens on torch: one pass over the prompts, then one for each token.

transformers' `generate` takes as long for its own work at each step as a small model for its layers. Here,
sequences also leave the batch as soon as they are finished.
"""

from collections.abc import Sequence
from typing import Any

from worker.engines.qwen3.decoding import FollowTokens
from worker.engines.qwen3.inputs import AUDIO_TOKEN, GenerationOptions, PreparedSequence, pad_tokens


def generate_tokens(
    thinker: Any, sequences: Sequence[PreparedSequence], follow: FollowTokens, options: GenerationOptions
) -> None:
    """Continue all `sequences` at once by Qwen's `thinker`, and call `follow` at each step."""
    batch = _Batch(thinker, sequences)
    logits = batch.read_prompts(sequences)
    for _ in range(options.max_new_tokens):
        tokens = _choose_tokens(logits, batch.tokens, options)
        is_finished = follow(list(zip(batch.numbers, tokens, strict=True)))
        rows = [row for row, number in enumerate(batch.numbers) if not is_finished[number]]
        if not rows:
            return
        batch.keep(rows)
        logits = batch.read_tokens([tokens[row] for row in rows])


class _Batch:
    """The sequences that are not finished, with what the model remembers of their tokens.

    `numbers` are their places in the whole batch. Shorter ones are padded on the left.
    """

    def __init__(self, thinker: Any, sequences: Sequence[PreparedSequence]) -> None:
        import torch
        from qwen_asr.core.transformers_backend.modeling_qwen3_asr import DynamicCache

        self.numbers = list(range(len(sequences)))
        self._thinker = thinker
        attention = thinker.model.config._attn_implementation  # noqa: SLF001 - its only name
        self._is_flash = attention == "flash_attention_2"
        self._cache: Any = DynamicCache(config=thinker.model.config)
        padded = pad_tokens([sequence.tokens for sequence in sequences])
        self.tokens: Any = torch.from_numpy(padded.tokens).to(thinker.device)
        mask = torch.from_numpy(padded.mask).to(thinker.device)
        self._mask: Any = None if padded.mask.all() else mask
        self._positions: Any = (mask.cumsum(-1) - 1).clamp(min=0)

    def read_prompts(self, sequences: Sequence[PreparedSequence]) -> Any:
        """Return the logits after the prompts, of shape (sequences, vocabulary)."""
        import torch

        vectors = self._thinker.model.embed_tokens(self.tokens)
        audio = torch.cat([sequence.audio for sequence in sequences])
        places = (self.tokens == AUDIO_TOKEN).unsqueeze(-1)
        return self._read(vectors.masked_scatter(places, audio.to(vectors)))

    def read_tokens(self, tokens: Sequence[int]) -> Any:
        """Return the logits after another token of each sequence."""
        import torch

        new = torch.tensor(tokens, device=self.tokens.device).unsqueeze(-1)
        self.tokens = torch.cat((self.tokens, new), dim=-1)
        self._positions = self._positions[:, -1:] + 1
        if self._mask is not None:
            self._mask = torch.cat((self._mask, torch.ones_like(new)), dim=-1)
        return self._read(self._thinker.model.embed_tokens(new))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these `rows` of the sequences only."""
        if len(rows) == len(self.numbers):
            return
        self.numbers = [self.numbers[row] for row in rows]
        self.tokens, self._positions = self.tokens[rows], self._positions[rows]
        self._mask = None if self._mask is None else self._mask[rows]
        self._cache.batch_select_indices(rows)

    def _read(self, vectors: Any) -> Any:
        import torch

        length = self.tokens.shape[1]
        read = self._thinker.model(
            inputs_embeds=vectors,
            attention_mask=self._find_seen(vectors.shape[1]),
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            cache_position=torch.arange(length - vectors.shape[1], length, device=vectors.device),
        )
        # Only the logits after the last token are used. Those of a prompt would take 0.6 MB for each token.
        return self._thinker.lm_head(read.last_hidden_state[:, -1])

    def _find_seen(self, count: int) -> Any:
        """Return the mask of what the last `count` tokens see. None: all tokens up to themselves.

        transformers would make the same of the padding alone, by a detour that takes as long as the layers.
        """
        import torch

        if self._mask is None or self._is_flash:
            return self._mask
        seen = self._mask.bool()[:, None, None, :]
        if count == 1:
            return seen
        return seen & torch.ones(count, count, dtype=torch.bool, device=seen.device).tril()


def _choose_tokens(logits: Any, tokens: Any, options: GenerationOptions) -> list[int]:
    """Return the next token of each sequence: the likeliest, or one drawn from all at a temperature."""
    import torch

    scores = logits.float()
    if options.avoid_repeats:
        seen, penalty = scores.gather(1, tokens), options.repetition_penalty
        scores = scores.scatter(1, tokens, torch.where(seen < 0, seen * penalty, seen / penalty))
    if options.temperature:
        drawn = torch.multinomial((scores / options.temperature).softmax(-1), 1)
        return drawn[:, 0].tolist()  # type: ignore[no-any-return]
    if scores.is_cpu:  # numpy finds the highest of a row in a tenth of the time
        return scores.numpy().argmax(-1).tolist()  # type: ignore[no-any-return]
    return scores.argmax(-1).tolist()  # type: ignore[no-any-return]
