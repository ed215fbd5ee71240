"""The names of all checks in the order of the run, so that a report can name those that were not run."""

from collections.abc import Sequence

from tests.gpu.verdicts import ALL_OF_SERVER, Verdict

DEVICE = "compute capability and driver"
LOAD = "load"
OF_ENGINE = (
    DEVICE,
    "attention of vLLM",
    LOAD,
    "attention in blocks of 8 s",
    "word errors",
    "word errors with and without blocks",
    "texts in batches of 1",
    "texts in batches of 2",
    "texts in batches of 4",
    "texts in batches of 16",
    "memory of a row, context of 0 bytes",
    "memory of a row, context of 4096 bytes",
    "shortage of memory",
    "stop while preparing",
    "stop in encoder",
    "stop in prefill",
    "stop in decoding",
    "word timestamps after a large batch",
    "free memory before and after the cache is emptied",
)
OF_SERVER = (
    "first job",
    "word timestamps by HTTP",
    "cancel 0 ms after the start",
    "cancel 50 ms after the start",
    "cancel 200 ms after the start",
    "cancel at the first text",
    "kill -9 of the engine's process",
    "idle unload",
    "GPU memory after the unload",
    "signs of life before the first text",
)


def find_missing(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the names of the checks without a verdict, each with its engine."""
    known = {(one.subject, one.engine) for one in verdicts}
    made = {subject for subject, _ in known}
    missing = [name for name in OF_ENGINE if name not in made]
    missing += [f"{name} (qwen3)" for name in OF_SERVER if (name, "qwen3") not in known]
    if (ALL_OF_SERVER, "qwen3-vllm") not in known:
        missing += [f"{name} (qwen3-vllm)" for name in OF_SERVER if (name, "qwen3-vllm") not in known]
    return missing
