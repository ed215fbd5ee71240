"""The generation of tokens on torch: one pass over the prompts, then one for each token.

transformers' `generate` takes as long for its own work at each step as a small model for its layers. Here,
sequences also leave the batch as soon as they are finished.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from worker.engines.qwen3.inputs import AUDIO_TOKEN, GenerationOptions, PreparedSequence, Prompt, pad_tokens
from worker.engines.qwen3.repeats import penalise_repeats
from worker.engines.qwen3.token_generator import Generation

Prepare = Callable[[Sequence[Prompt]], Sequence[PreparedSequence]]
"""A call that encodes the audio of prompts."""


class GenerationBatch:
    """Generations of one kind that Qwen's `thinker` continues together, with its memory of their tokens.

    `generations` are those that need more tokens. Shorter ones are padded on the left.
    """

    # Since the first step, which reads the prompts:
    _last: list[int]
    _cache: Any
    _mask: Any
    _positions: Any

    def __init__(self, thinker: Any, generations: Sequence[Generation], prepare: Prepare) -> None:
        self.generations = list(generations)
        self._options = generations[0].options
        self._thinker = thinker
        self._prepare = prepare
        attention = thinker.model.config._attn_implementation  # noqa: SLF001 - its only name
        self._is_flash = attention == "flash_attention_2"
        self._tokens: Any = None  # until the first step

    def step(self) -> None:
        """Push a token to each generation."""
        logits = self._read_prompts() if self._tokens is None else self._read_tokens()
        self._last = _choose_tokens(logits, self._tokens, self._options)
        for generation, token in zip(self.generations, self._last, strict=True):
            generation.push(token)
        self._keep([row for row, generation in enumerate(self.generations) if not generation.is_finished])

    def drop(self, numbers: Collection[int]) -> None:
        """Continue the generations no more whose `id` is in `numbers`."""
        self._keep([row for row, generation in enumerate(self.generations) if id(generation) not in numbers])

    def _keep(self, rows: Sequence[int]) -> None:
        """Go on with these `rows` only."""
        if len(rows) == len(self.generations):
            return
        self.generations = [self.generations[row] for row in rows]
        if not rows or self._tokens is None:
            return
        self._last = [self._last[row] for row in rows]
        self._tokens, self._positions = self._tokens[rows], self._positions[rows]
        self._mask = None if self._mask is None else self._mask[rows]
        self._cache.batch_select_indices(rows)

    def _read_prompts(self) -> Any:
        """Return the logits after the prompts, of shape (generations, vocabulary)."""
        import torch
        from qwen_asr.core.transformers_backend.modeling_qwen3_asr import DynamicCache

        thinker = self._thinker
        prompts = [generation.prompt for generation in self.generations]
        sequences = self._prepare(prompts)
        padded = pad_tokens([sequence.tokens for sequence in sequences])
        self._tokens = torch.from_numpy(padded.tokens).to(thinker.device)
        mask = torch.from_numpy(padded.mask).to(thinker.device)
        self._mask = None if padded.mask.all() else mask
        self._positions = (mask.cumsum(-1) - 1).clamp(min=0)
        self._cache = DynamicCache(config=thinker.model.config)
        vectors = thinker.model.embed_tokens(self._tokens)
        audio = torch.cat([sequence.audio for sequence in sequences])
        places = (self._tokens == AUDIO_TOKEN).unsqueeze(-1)
        logits = self._read(vectors.masked_scatter(places, audio.to(vectors)))
        self._tokens = self._hide_prompts(prompts)
        for generation, sequence in zip(self.generations, sequences, strict=True):
            generation.count_prompt(sequence.token_counts)
        return logits

    def _hide_prompts(self, prompts: Sequence[Prompt]) -> Any:
        """Return the tokens with audio tokens in place of all but the text so far.

        The repetition penalty would count the end tokens of the prompts and of the padding too, and keep a
        text from ending. The model never generates an audio token.
        """
        tokens = self._tokens.clone()
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(row) - len(prompt.generated)] = AUDIO_TOKEN
        return tokens

    def _read_tokens(self) -> Any:
        """Return the logits after the last token of each generation."""
        import torch

        new = torch.tensor(self._last, device=self._tokens.device).unsqueeze(-1)
        self._tokens = torch.cat((self._tokens, new), dim=-1)
        self._positions = self._positions[:, -1:] + 1
        if self._mask is not None:
            self._mask = torch.cat((self._mask, torch.ones_like(new)), dim=-1)
        return self._read(self._thinker.model.embed_tokens(new))

    def _read(self, vectors: Any) -> Any:
        import torch

        length = self._tokens.shape[1]
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
        Padding sees itself: some kernels make NaN of a token that sees nothing, and NaN passes each mask.
        """
        import torch

        if self._mask is None or self._is_flash:
            return self._mask
        seen = self._mask.bool()[:, None, None, :]
        if count == 1:
            return seen
        earlier = torch.ones(count, count, dtype=torch.bool, device=seen.device).tril()
        return (seen & earlier) | torch.eye(count, dtype=torch.bool, device=seen.device)


def _choose_tokens(logits: Any, tokens: Any, options: GenerationOptions) -> list[int]:
    """Return the next token of each sequence: the likeliest, or one drawn from all at a temperature."""
    import torch

    scores = logits.float()
    if options.avoid_repeats:
        scores = penalise_repeats(scores, tokens, options.repetition_penalty)
    if options.temperature:
        drawn = torch.multinomial((scores / options.temperature).softmax(-1), 1)
        return drawn[:, 0].tolist()  # type: ignore[no-any-return]
    if scores.is_cpu:  # numpy finds the highest of a row in a tenth of the time
        return scores.numpy().argmax(-1).tolist()  # type: ignore[no-any-return]
    return scores.argmax(-1).tolist()  # type: ignore[no-any-return]
