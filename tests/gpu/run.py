"""The order of the checks. One that breaks is a failed check, and the others go on."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.gpu_target import GpuTarget, choose_target, choose_vllm
from tests.bench.settings import BenchSettings
from tests.gpu.engine_checks import EngineProbe, open_probe
from tests.gpu.server_checks import ServerProbe
from tests.gpu.speech import TestSpeech, choose_speech
from tests.gpu.verdicts import BROKEN, Check, Verdict, guard

STOPPED_ROWS = 16
NO_VLLM = "there is no .venv-qwen-vllm; `make run ENGINE=qwen3-vllm` sets it up on a machine with a GPU"

EngineCheck = Callable[[EngineProbe], AsyncGenerator[Verdict, None]]

_ENGINE_CHECKS: Sequence[EngineCheck] = (
    EngineProbe.check_device,
    EngineProbe.check_blocks,
    EngineProbe.check_batches,
    EngineProbe.check_memory,
    EngineProbe.check_shortage,
    lambda probe: probe.check_stops(STOPPED_ROWS),
    EngineProbe.check_words,
)


async def run_checks(
    settings: BenchSettings, folder: Path, facts: dict[str, str]
) -> AsyncGenerator[Verdict, None]:
    """Run all checks, yield their verdicts, and add the software to the `facts`."""
    speech = choose_speech(settings)
    facts["speech"] = speech.source
    target = choose_target(settings)
    if target is None:
        raise RuntimeError("the environment of ENGINE=qwen3 is not set up")
    async with open_probe(target, speech, folder / "facts", device=settings.device) as probe:
        versions = (await probe.describe_device()).versions
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    async for verdict in _check_engine(target, speech, folder / "engine", device=settings.device):
        yield verdict
    vllm = choose_vllm(settings)
    for one in filter(None, (target, vllm)):
        server = ServerProbe(one, speech, folder / one.name, device=settings.device)
        for check in (server.check_life, server.check_silence):
            async for verdict in guard(check(), one.name):
                yield verdict
    if vllm is None:
        yield Check("all checks of the server", "qwen3-vllm").leave_out(NO_VLLM)


async def _check_engine(
    target: GpuTarget, speech: TestSpeech, folder: Path, *, device: str
) -> AsyncGenerator[Verdict, None]:
    """Run the checks in one process; one that broke gets another process."""
    waiting = list(_ENGINE_CHECKS)
    while waiting:
        async with AsyncExitStack() as stack:
            probe = await stack.enter_async_context(open_probe(target, speech, folder, device=device))
            has_broken = False
            async for verdict in guard(probe.check_load(), target.name):
                yield verdict
            while waiting and not has_broken:
                check = waiting.pop(0)
                async for verdict in guard(check(probe), target.name):
                    yield verdict
                    has_broken = has_broken or verdict.subject.startswith(BROKEN)
