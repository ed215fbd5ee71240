"""The Qwen engine on a GPU with published models; `DEVICE=cpu` tries the same with the miniature.

It runs unattended. Figures of vLLM need `.venv-qwen-vllm`, and those of GPU memory need nvidia-smi.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.calls import SyncClient, encode_form
from tests.bench.cold_start import run_cold_job, share_out_phases, wait_for_unload
from tests.bench.figures import Figure, Findings, Goal, Growth, Shares, report_unmeasured
from tests.bench.gpu_target import (
    NO_MEMORY,
    GpuTarget,
    choose_target,
    choose_vllm,
    describe_model,
    read_gpu_memory_mib,
    serve_target,
)
from tests.bench.job_watch import submit, wait_for_state
from tests.bench.long_files import stream_file
from tests.bench.server import BenchServer
from tests.bench.settings import BenchSettings, Scale
from tests.bench.speech import Speech, measure_s, read_speech
from tests.support.audio import write_pcm
from tests.word_errors import add_counts, count_errors

CLIP_S = 20.0
TITLE = "Published models on a GPU"
CPU_TITLE = "The miniature on the CPU"
PREDECESSOR, PAPER = "the server that this one grew out of", "Qwen's report, 0.6B on vLLM"
NOTES = (
    f"The Qwen engine with {{model}} on {{device}}. A clip of {CLIP_S:g} s goes to the synchronous endpoint "
    "and to the stream. Times real time is audio over the time of a job, for files of two full batches. GPU "
    "memory is what the device has in use beyond the start of the run. Counterparts were not measured here."
)


@dataclass(frozen=True)
class _Measured:
    """The figures of one engine."""

    cold_s: list[float]
    phases: Shares
    warm_s: list[float]
    first_text_s: list[float]
    loaded_mib: Sequence[float]
    after_mib: Sequence[float]
    real_time: Mapping[float, list[float]]


async def measure_gpu(settings: BenchSettings, folder: Path) -> Findings:
    """Measure the engine on transformers, and on vLLM where that is installed."""
    speech = read_speech(settings.speech_dir)
    target = choose_target(settings)
    if target is None:
        reason = "`make bench-gpu` sets up its environment"
        return report_unmeasured(TITLE, NOTES, ["warm latency"], reason=reason)
    figures: list[Figure] = []
    shares: list[Shares] = []
    growths: list[Growth] = []
    for one in filter(None, (target, choose_vllm(settings))):
        found = await _measure(one, speech, folder.with_name(f"gpu-{one.name}"), settings.scale)
        figures += _describe(one, found)
        shares.append(found.phases)
        growths.append(Growth("Times real time", "window", "times", {one.name: found.real_time}))
    if choose_vllm(settings) is None:
        figures.append(Figure("qwen3-vllm", "", (), note="there is no .venv-qwen-vllm"))
    figures.append(await _count_word_errors(target, settings, speech, folder.with_name("gpu-words")))
    notes = NOTES.format(model=describe_model(settings), device=settings.device)
    if settings.device == "cpu":  # the published figures are those of other models, on GPUs
        return Findings(CPU_TITLE, notes, [*map(_drop_counterpart, figures)], (), growths, shares)
    return Findings(TITLE, notes, figures, (), growths, shares)


async def _measure(target: GpuTarget, speech: Speech, folder: Path, scale: Scale) -> _Measured:
    clip, before_mib = speech.cut_clip(CLIP_S), read_gpu_memory_mib()
    async with serve_target(target, folder) as server:
        await server.start_worker()
        began = time.perf_counter()
        cold = await run_cold_job(server, clip)
        cold_s = time.perf_counter() - began
        loaded_mib = read_gpu_memory_mib()
        warm_s = [await asyncio.to_thread(_transcribe, server, clip) for _ in range(scale.rounds)]
        path = folder / "clip.wav"
        path.write_bytes(clip)
        first_text_s = [(await stream_file(server, path)).first_text_s for _ in range(scale.rounds)]
        await wait_for_unload(server)
        after_mib = read_gpu_memory_mib()
    real_time = {
        float(batch): [
            await _measure_batch(target, speech, folder.with_name(f"{folder.name}-{batch}"), batch)
        ]
        for batch in scale.gpu_windows
    }
    return _Measured(
        cold_s=[cold_s],
        phases=share_out_phases([cold]),
        warm_s=warm_s,
        first_text_s=first_text_s,
        loaded_mib=_subtract(loaded_mib, before_mib),
        after_mib=_subtract(after_mib, before_mib),
        real_time=real_time,
    )


async def _measure_batch(target: GpuTarget, speech: Speech, folder: Path, batch: int) -> float:
    """Return the seconds of audio per second, for a file of two batches."""
    file, warm_up = speech.join_file(2 * batch * target.window_s).file, speech.cut_clip(3)
    async with serve_target(target, folder, BATCH_WINDOWS=str(batch)) as server:
        await server.start_worker()
        await wait_for_state(server, await submit(server, warm_up), "succeeded")
        began = time.perf_counter()
        await wait_for_state(server, await submit(server, file), "succeeded")
        return measure_s(file) / (time.perf_counter() - began)


def _transcribe(server: BenchServer, clip: bytes) -> float:
    client = SyncClient(server.port)
    try:
        return client.transcribe(encode_form(clip, {})).took_ms / 1000
    finally:
        client.close()


def _subtract(later: float | None, earlier: float | None) -> Sequence[float]:
    return () if later is None or earlier is None else (later - earlier,)


def _describe(target: GpuTarget, found: _Measured) -> list[Figure]:
    name = target.name
    figures = [
        Figure(f"{name}: first job on a cold worker", "s", found.cold_s, [19.0], PREDECESSOR),
        Figure(
            f"{name}: {CLIP_S:g} s of audio, warm", "s", found.warm_s, [1.3] * len(found.warm_s), PREDECESSOR
        ),
        Figure(
            f"{name}: first text of {CLIP_S:g} s",
            "s",
            found.first_text_s,
            [0.092] * len(found.first_text_s),
            PAPER,
        ),
        Figure(f"{name}: GPU memory, loaded", "MiB", found.loaded_mib, note=NO_MEMORY),
        Figure(
            f"{name}: GPU memory after an idle unload",
            "MiB",
            found.after_mib,
            [0.0] * len(found.after_mib),
            PREDECESSOR,
            Goal(0),
            NO_MEMORY,
        ),
    ]
    published = {1: (106.0, PAPER), 32: (2_000.0, f"{PAPER}, 128 requests")}
    for batch, rates in found.real_time.items():
        windows = "1 window" if batch == 1 else f"{batch:g} windows"
        rate, counterpart = published.get(round(batch), (None, ""))
        against = [] if rate is None else [rate] * len(rates)
        figures.append(Figure(f"{name}: times real time, {windows} at once", "", rates, against, counterpart))
    return figures


def _drop_counterpart(figure: Figure) -> Figure:
    return replace(figure, against=(), counterpart="")


async def _count_word_errors(
    target: GpuTarget, settings: BenchSettings, speech: Speech, folder: Path
) -> Figure:
    name = f"{target.name}: words wrong"
    if settings.speech_dir is None:
        return Figure(name, "%", (), note="SPEECH_DIR is not set")
    counts = []
    async with serve_target(target, folder) as server:
        await server.start_worker()
        for recording in speech.recordings:
            answer = await server.http.post(
                "/v1/audio/transcriptions",
                files={"file": write_pcm(recording.pcm)},
                data={"language": "en"},
                timeout=600,
            )
            text = answer.raise_for_status().json()["text"]
            counts.append(count_errors(recording.text, text, language="en"))
    return Figure(name, "%", [100 * add_counts(counts).rate])
