"""Qwen's audio encoder: convolutions over seconds of audio, then layers with attention in blocks of 8 s.

The convolutions see a tenth of a second to each side. So those of a window also serve its clips, whose
languages are detected before the window is decoded, and the repairs of its text. Only the layers run anew.
"""

import weakref
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

from worker.engines.protocol import Samples
from worker.engines.qwen3.inputs import FRAME_SAMPLES, Clip, PromptProcessor

# The vectors of 30 s. Clips share a pass up to here, as its attention grows with the square.
_MAX_SHARED_VECTORS = 390
# Three convolutions halve the frames of a chunk.
_VECTOR_FRAMES = 8


class AudioEncoder:
    """Qwen's encoder `tower`, which keeps its blocks apart, and the convolved samples that still exist."""

    def __init__(self, tower: Any, processor: PromptProcessor) -> None:
        self._tower = tower
        self._chunk_frames: int = 2 * tower.n_window
        self._chunk_vectors: int = -(-self._chunk_frames // _VECTOR_FRAMES)
        self._processor = processor
        self._convolved: dict[int, Any] = {}

    def encode(self, clips: Sequence[Clip]) -> list[Any]:
        """Return the vectors of each clip, as the thinker reads them, each of shape (vectors, width)."""
        encoded: list[Any] = []
        for shared in _share_passes([self._take_vectors(clip) for clip in clips]):
            encoded += self._attend(shared)
        return encoded

    def _take_vectors(self, clip: Clip) -> Any:
        """Return the convolved vectors of a clip, without positions."""
        vectors = self._find_convolved(clip.samples)
        if len(clip) == len(clip.samples):
            return vectors
        return vectors[self._find_vector(clip.start) : self._find_vector(clip.end)]

    def _find_convolved(self, samples: Samples) -> Any:
        """Return the vectors of all `samples`, which are computed once as long as these exist."""
        key = id(samples)
        if key not in self._convolved:
            self._convolved[key] = self._convolve(samples)
            weakref.finalize(samples, self._convolved.pop, key).atexit = False
        return self._convolved[key]

    def _convolve(self, samples: Samples) -> Any:
        import torch
        from torch.nn.functional import gelu

        tower = self._tower
        features = torch.from_numpy(self._processor.extract_features(samples)).to(tower.device, tower.dtype)
        chunks = features.T.split(self._chunk_frames)
        padded = torch.nn.utils.rnn.pad_sequence(chunks, batch_first=True).transpose(1, 2).unsqueeze(1)
        convolved = [
            gelu(tower.conv2d3(gelu(tower.conv2d2(gelu(tower.conv2d1(some))))))
            for some in padded.split(tower.conv_chunksize)
        ]
        # From (chunks, channels, bands, steps) to (chunks, steps, channels * bands).
        columns = torch.cat(convolved).permute(0, 3, 1, 2).flatten(2)
        return tower.conv_out(columns).flatten(0, 1)[: self._count_vectors(features.shape[1])]

    def _count_vectors(self, frames: int) -> int:
        """Return how many vectors so many frames become."""
        whole, rest = divmod(frames, self._chunk_frames)
        return whole * self._chunk_vectors + -(-rest // _VECTOR_FRAMES)

    def _find_vector(self, sample: int) -> int:
        """Return the first vector whose middle comes after a sample."""
        whole, rest = divmod(sample // FRAME_SAMPLES, self._chunk_frames)
        return whole * self._chunk_vectors + (rest + _VECTOR_FRAMES // 2) // _VECTOR_FRAMES

    def _attend(self, clips: Sequence[Any]) -> tuple[Any, ...]:
        """Run the layers over some clips at once."""
        import torch

        tower = self._tower
        lengths = [len(clip) for clip in clips]
        hidden = torch.cat([clip + self._read_positions(clip) for clip in clips])
        blocks = torch.tensor(self._find_blocks(lengths), dtype=torch.int32, device=hidden.device)
        for layer in tower.layers:
            hidden = layer(hidden, blocks)[0]
        projected = tower.proj2(tower.act(tower.proj1(tower.ln_post(hidden))))
        return projected.split(lengths)  # type: ignore[no-any-return]

    def _read_positions(self, clip: Any) -> Any:
        """Return the positions of the vectors, which count from 0 in each chunk."""
        chunks = -(-len(clip) // self._chunk_vectors)
        table = self._tower.positional_embedding(min(self._chunk_vectors, len(clip))).to(clip.dtype)
        return table.repeat(chunks, 1)[: len(clip)]

    def _find_blocks(self, lengths: Sequence[int]) -> list[int]:
        """Return the bounds of the blocks, of which each sees only itself: 8 s or less of one clip."""
        block = self._chunk_vectors * (self._tower.n_window_infer // self._chunk_frames)
        ends = [0, *accumulate(lengths)]
        return [start for first, last in pairwise(ends) for start in range(first, last, block)] + ends[-1:]


def _share_passes(clips: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the clips in groups for one pass each. A clip of 30 s is alone."""
    group: list[Any] = []
    for clip in clips:
        if group and sum(map(len, group)) + len(clip) > _MAX_SHARED_VECTORS:
            yield group
            group = []
        group.append(clip)
    if group:
        yield group


def keep_blocks_apart(tower: Any) -> None:
    """Give each layer of `tower` the mask that Qwen's package leaves out with SDPA.

    The layers get the bounds of the blocks, but only flash-attention reads them. vLLM keeps to them as well.
    """
    for layer in tower.layers:
        layer.register_forward_pre_hook(_add_block_mask, with_kwargs=True)


def _add_block_mask(_layer: Any, inputs: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    hidden, bounds = inputs
    if len(bounds) == 2:  # noqa: PLR2004 - the start and the end of a single block
        return inputs, options
    return inputs, options | {"attention_mask": _mask_other_blocks(len(hidden), bounds)}


def _mask_other_blocks(vectors: int, bounds: Any) -> Any:
    """Return a mask of shape (1, 1, vectors, vectors): True where both vectors are in one block."""
    import torch

    blocks = torch.bucketize(torch.arange(vectors, device=bounds.device), bounds, right=True)
    return (blocks[:, None] == blocks[None, :])[None, None]
