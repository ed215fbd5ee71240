"""The answer for each engine: whether this machine is fit, with the figures or the reason."""

from collections.abc import Iterator, Sequence

from tests.gpu.plan import DEVICE, LOAD
from tests.gpu.verdicts import ALL_OF_SERVER, Outcome, Verdict

ENGINES = ("qwen3", "qwen3-vllm")
FIGURES = (DEVICE, LOAD, "attention of vLLM", "first job")
NO_GPU_TRIED = "This run says nothing about a GPU."
REMEDY = (
    "Do what the message of the check says (driver, DEVICE, free memory), stop other programs on the GPU, "
    "and run `make gpu-test` again."
)


def describe_fitness(verdicts: Sequence[Verdict], *, device: str) -> Iterator[str]:
    """Yield a sentence for each engine, or that the run was without a GPU."""
    if device == "cpu":
        yield NO_GPU_TRIED
        return
    for engine in ENGINES:
        yield _judge(engine, [one for one in verdicts if one.engine == engine])


def _judge(engine: str, verdicts: Sequence[Verdict]) -> str:
    failed = [f"{one.subject}: {one.finding}" for one in verdicts if one.outcome is Outcome.FAILED]
    if failed:
        return f"{engine}: this machine is NOT FIT. FAIL: {'; '.join(failed)}. {REMEDY}"
    left_out = [one.finding for one in verdicts if one.subject == ALL_OF_SERVER]
    if left_out or not verdicts:
        return f"{engine}: not checked, {'; '.join(left_out) or 'as no check of it was made'}."
    figures = [f"{one.subject}: {one.finding}" for one in verdicts if one.subject in FIGURES]
    return f"{engine}: this machine is fit. {'; '.join(figures)}."
