"""The order of the checks. One that breaks is a failed check, and the others go on."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.gpu_target import GpuTarget, choose_target, choose_vllm
from tests.bench.settings import BenchSettings
from tests.gpu.engine_checks import EngineProbe, open_probe
from tests.gpu.plan import DEVICE, LOAD
from tests.gpu.server_checks import ServerProbe
from tests.gpu.speech import TestSpeech, choose_speech
from tests.gpu.verdicts import ALL_OF_SERVER, BROKEN, Check, Outcome, Verdict, guard

STOPPED_ROWS = 16
NO_VLLM = "there is no .venv-qwen-vllm; `make run ENGINE=qwen3-vllm` sets it up on a machine with a GPU"

EngineCheck = Callable[[EngineProbe], AsyncGenerator[Verdict, None]]

_ENGINE_CHECKS: Sequence[EngineCheck] = (
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
    usable = [target, choose_vllm(settings)]
    async with open_probe(target, speech, folder / "facts", device=settings.device) as probe:
        facts["versions"] = await probe.name_versions()
        async for verdict in guard(probe.check_device(), target.name):
            yield verdict
            if (verdict.subject, verdict.outcome) == (DEVICE, Outcome.FAILED):
                usable[0] = None  # a published model on the CPU would take hours
    if usable[0]:
        async for verdict in _check_engine(target, speech, folder / "engine", device=settings.device):
            yield verdict
            if verdict.outcome is Outcome.FAILED and verdict.subject in {LOAD, f"{BROKEN}: check_load"}:
                usable[0] = None
    for one in filter(None, usable):
        async for verdict in _check_server(one, speech, folder / one.name, device=settings.device):
            yield verdict
    if usable[1] is None:
        yield Check(ALL_OF_SERVER, "qwen3-vllm").leave_out(NO_VLLM)


async def _check_server(
    target: GpuTarget, speech: TestSpeech, folder: Path, *, device: str
) -> AsyncGenerator[Verdict, None]:
    server = ServerProbe(target, speech, folder, device=device)
    for check in (server.check_life, server.check_silence):
        async for verdict in guard(check(), target.name):
            yield verdict


async def _check_engine(
    target: GpuTarget, speech: TestSpeech, folder: Path, *, device: str
) -> AsyncGenerator[Verdict, None]:
    """Run the checks in one process; one that broke gets another process.

    Without the wanted device or the model, the others are not run.
    """
    waiting = list(_ENGINE_CHECKS)
    while waiting:
        async with AsyncExitStack() as stack:
            probe = await stack.enter_async_context(open_probe(target, speech, folder, device=device))
            has_broken = False
            async for verdict in guard(probe.check_load(), target.name):
                yield verdict
                if verdict.outcome is Outcome.FAILED:
                    return
            while waiting and not has_broken:
                check = waiting.pop(0)
                async for verdict in guard(check(probe), target.name):
                    yield verdict
                    has_broken = has_broken or verdict.subject.startswith(BROKEN)
