"""Changes of the engine `qwen3` for as long as a block: noted batches, and memory that is short."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from worker.engines.qwen3.generation import GenerationBatch


@contextmanager
def replaced(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Wrap a method for as long as the block."""
    method = getattr(owner, name)
    setattr(owner, name, wrap(method))
    try:
        yield
    finally:
        setattr(owner, name, method)


@contextmanager
def dropped(hooks: MutableMapping[int, Any], hook: Any) -> Iterator[None]:
    """Leave a hook out of the `hooks` of a layer for as long as the block."""
    kept = dict(hooks)
    for number, one in kept.items():
        if one is hook:
            del hooks[number]
    try:
        yield
    finally:
        hooks.clear()
        hooks.update(kept)


def call_before(call: Callable[..., object]) -> Callable[[Any], Any]:
    """Return a wrapper that makes a call before each one of a method."""

    def wrap(method: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            call()
            return method(*arguments, **options)

        return called

    return wrap


@contextmanager
def note_batches() -> Iterator[list[int]]:
    """Note the size of each batch whose prompts are read."""
    sizes: list[int] = []

    def wrap(method: Any) -> Any:
        def read(batch: Any) -> Any:
            sizes.append(len(batch.generations))
            return method(batch)

        return read

    with replaced(GenerationBatch, "_read_prompts", wrap):
        yield sizes


@contextmanager
def refuse_batches(fitting: int) -> Iterator[None]:
    """Let each batch of more than `fitting` rows fail as a GPU without memory does."""
    import torch  # noqa: PLC0415

    def wrap(method: Any) -> Any:
        def read(batch: Any) -> Any:
            if len(batch.generations) > fitting:
                raise torch.OutOfMemoryError("CUDA out of memory. A stand-in for a GPU.")
            return method(batch)

        return read

    with replaced(GenerationBatch, "_read_prompts", wrap):
        yield


@contextmanager
def hold_memory(left_bytes: int) -> Iterator[None]:
    """Hold all memory of the GPU but `left_bytes`, as another program would."""
    import torch  # noqa: PLC0415

    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(max(0, free - left_bytes), dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del held
        torch.cuda.empty_cache()
