"""The checks of an engine in a whole server, by HTTP: words, cancels, a killed engine, silence, unload."""

import asyncio
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from shared.events import AnyEvent, Partial, SegmentDone, Started
from tests.bench.gpu_target import NO_MEMORY, GpuTarget, read_gpu_memory_mib, serve_target
from tests.bench.job_watch import read_events, submit, wait_for_event, wait_for_kind, wait_for_state
from tests.bench.server import BenchServer
from tests.chaos.waiting import wait_until
from tests.gpu.speech import TestSpeech
from tests.gpu.verdicts import Check, Verdict, guard
from tests.support.same_text import is_same_text

LONG_WINDOWS = 48  # three batches of a GPU
LONG_WINDOWS_ON_CPU = 16
# Moments of a cancel, in seconds after the start of the work: while inputs are prepared, and in the model.
CANCEL_AFTER_S = (0.0, 0.05, 0.2)
SPARE_MIB = 16.0  # what other programs of the machine may take meanwhile
STALL_TIMEOUT_S = 6
SILENT_WINDOWS, SILENT_WINDOWS_ON_CPU = 16, 2
UNLOADED_WITHIN_S = 60.0  # with an IDLE_TIMEOUT of some seconds
RELOADED_WITHIN_S = 900.0  # vLLM compiles kernels at its start
CONTEXT = "q x z j v " * 400
LOST = "vllm_lost"


class ServerProbe:
    """A server with the engine, and the checks of it."""

    def __init__(self, target: GpuTarget, speech: TestSpeech, folder: Path, *, device: str) -> None:
        self._target = target
        self._speech = speech
        self._folder = folder
        self._device = device
        windows = LONG_WINDOWS_ON_CPU if device == "cpu" else LONG_WINDOWS
        self._long = speech.repeat_to(windows * target.window_s)
        self._silent = SILENT_WINDOWS_ON_CPU if device == "cpu" else SILENT_WINDOWS
        self._text = ""
        self._before_mib = read_gpu_memory_mib()

    def _name(self, subject: str) -> Check:
        return Check(subject, self._target.name)

    async def check_life(self) -> AsyncGenerator[Verdict, None]:
        """Check texts, words, cancels, a kill and the unload on one server."""
        async with serve_target(self._target, self._folder) as server:
            await server.start_worker()
            checks = (
                self._check_text,
                self._check_words,
                self._check_cancels,
                self._check_kill,
                self._check_unload,
            )
            for check in checks:
                async for verdict in guard(check(server), self._target.name):
                    yield verdict

    async def check_silence(self) -> AsyncGenerator[Verdict, None]:
        """Check that a batch whose first text takes longer than STALL_TIMEOUT_S is not ended as stalled."""
        settings = {"STALL_TIMEOUT_S": str(STALL_TIMEOUT_S), "BATCH_WINDOWS": str(self._silent)}
        folder = self._folder.with_name(f"{self._folder.name}-silence")
        async with serve_target(self._target, folder, **settings) as server:
            await server.start_worker()
            await self._transcribe(server)  # loads the model
            fields = {"prompt": CONTEXT, "language": "en", "priority": "interactive"}
            file = self._speech.repeat_to(self._silent * self._target.window_s)
            answer = await server.http.post("/v1/jobs", files={"file": ("long.wav", file)}, data=fields)
            job_id = str(answer.raise_for_status().json()["id"])
            await wait_for_event(server, job_id, lambda event: event.is_final)
            events = await read_events(server, job_id)
            job = await _read(server, job_id)
        began_s = next(seen.at_s for seen in events if isinstance(seen.event, Started))
        silent_s = (
            next(seen.at_s for seen in events if _has_text(seen.event) or seen.event.is_final) - began_s
        )
        attempt = job["attempt"]
        found = (
            f"first text after {silent_s:.1f} s with STALL_TIMEOUT_S={STALL_TIMEOUT_S}, "
            f"attempt {attempt} (limit 1)"
        )
        check = self._name("signs of life before the first text")
        is_good = attempt == 1 and job["state"] == "succeeded"
        if is_good and silent_s < STALL_TIMEOUT_S:
            yield check.leave_out(f"this machine is too fast for it: {found}")
        else:
            yield check.judge(found, is_good=is_good)

    async def _check_text(self, server: BenchServer) -> AsyncGenerator[Verdict, None]:
        began = time.monotonic()
        self._text = await self._transcribe(server)
        took_s, clip = time.monotonic() - began, self._speech.clips[0]
        loaded_mib = read_gpu_memory_mib()
        found = f"{took_s:.1f} s with the load"
        if loaded_mib is not None and self._before_mib is not None:
            found += f", GPU memory {loaded_mib - self._before_mib:.0f} MiB"
        is_good = bool(self._text) if self._device != "cpu" else self._text == clip.text
        yield self._name("first job").judge(found, is_good=is_good)

    async def _check_words(self, server: BenchServer) -> AsyncGenerator[Verdict, None]:
        check = self._name("word timestamps by HTTP")
        clip = self._speech.clips[0]
        fields = {
            "response_format": "verbose_json",
            "timestamp_granularities[]": "word",
            "language": clip.language,
        }
        answer = await self._post(server, clip.file, fields)
        if self._target.name != "qwen3":
            is_refused = answer.status_code == httpx.codes.BAD_REQUEST
            yield check.judge(f"status {answer.status_code}, as it has none", is_good=is_refused)
            return
        if answer.is_error:
            yield check.judge(f"status {answer.status_code}: {answer.text}", is_good=False)
            return
        words = answer.json()["words"]
        starts = [word["start"] for word in words]
        yield check.judge(f"{len(words)} words", is_good=bool(words) and starts == sorted(starts))

    async def _check_cancels(self, server: BenchServer) -> AsyncGenerator[Verdict, None]:
        for after_s in CANCEL_AFTER_S:
            yield await self._cancel(server, f"{after_s * 1000:.0f} ms after the start", after_s)
        yield await self._cancel(server, "at the first text", None)

    async def _cancel(self, server: BenchServer, moment: str, after_s: float | None) -> Verdict:
        """Cancel a long job, and check that its process is kept."""
        (model,) = server.find_model_processes()
        job_id = await submit(server, self._long)
        await wait_for_kind(server, job_id, Started)
        if after_s is None:
            await wait_for_event(server, job_id, _has_text)
        else:
            await asyncio.sleep(after_s)
        began = time.monotonic()
        await server.http.delete(f"/v1/jobs/{job_id}")
        await wait_for_state(server, job_id, "cancelled")
        took_s = time.monotonic() - began
        text = await self._transcribe(server)
        is_kept = [process.pid for process in server.find_model_processes()] == [model.pid]
        found = f"{took_s * 1000:.0f} ms, the model process was {'kept' if is_kept else 'ended'}"
        return self._name(f"cancel {moment}").judge(found, is_good=is_kept and self._is_same(text))

    async def _check_kill(self, server: BenchServer) -> AsyncGenerator[Verdict, None]:
        """Kill the process that computes in the middle of a job, which must be done all the same."""
        job_id = await submit(server, self._long)
        await wait_for_event(server, job_id, _has_text)
        (model,) = server.find_model_processes()
        victim = _find_computing(model)
        began = time.monotonic()
        victim.kill()
        await wait_until(lambda: not _is_alive(model), within_s=30)
        noticed_s = time.monotonic() - began
        is_gone = not _is_alive(model)
        await wait_until(partial(_has_ended, server, job_id), within_s=RELOADED_WITHIN_S)
        done_s = time.monotonic() - began
        job = await _read(server, job_id)
        found = f"noticed after {noticed_s:.1f} s, done after {done_s:.1f} s in attempt {job['attempt']}"
        if victim != model:
            is_logged = self._count_lost() > 0
            found += f", {LOST} {'is' if is_logged else 'is NOT'} in the log"
            is_gone = is_gone and is_logged
        is_good = is_gone and job["attempt"] > 1 and job["state"] == "succeeded"
        yield self._name("kill -9 of the engine's process").judge(found, is_good=is_good)

    async def _check_unload(self, server: BenchServer) -> AsyncGenerator[Verdict, None]:
        began, lost = time.monotonic(), self._count_lost()
        await wait_until(lambda: not server.find_model_processes(), within_s=UNLOADED_WITHIN_S)
        is_lost = self._count_lost() > lost
        found = f"{time.monotonic() - began:.1f} s (limit {UNLOADED_WITHIN_S:.0f} s) after the last job"
        found += f", with {LOST}" if is_lost else ""
        is_good = not (server.find_model_processes() or is_lost)
        yield self._name("idle unload").judge(found, is_good=is_good)
        check, after_mib = self._name("GPU memory after the unload"), read_gpu_memory_mib()
        if after_mib is None or self._before_mib is None:
            yield check.leave_out(NO_MEMORY)
            return
        left_mib = after_mib - self._before_mib
        yield check.judge(
            f"{left_mib:.0f} MiB more than before (limit {SPARE_MIB:.0f} MiB)", is_good=left_mib <= SPARE_MIB
        )

    def _count_lost(self) -> int:
        return (self._folder / "logs" / "worker.log").read_text().count(LOST)

    async def _transcribe(self, server: BenchServer) -> str:
        answer = await self._post(server, self._speech.clips[0].file, {})
        return str(answer.raise_for_status().json()["text"])

    async def _post(self, server: BenchServer, file: bytes, fields: dict[str, str]) -> httpx.Response:
        files = {"file": ("clip.wav", file)}
        return await server.http.post("/v1/audio/transcriptions", files=files, data=fields, timeout=1_800)

    def _is_same(self, text: str) -> bool:
        language = self._speech.clips[0].language
        return is_same_text(self._text, text, device=self._device, language=language)


async def _read(server: BenchServer, job_id: str) -> dict[str, Any]:
    answer = await server.http.get(f"/v1/jobs/{job_id}")
    job: dict[str, Any] = answer.raise_for_status().json()
    return job


async def _has_ended(server: BenchServer, job_id: str) -> bool:
    return (await _read(server, job_id))["state"] not in {"queued", "running"}


def _has_text(event: AnyEvent) -> bool:
    return isinstance(event, Partial | SegmentDone)


def _find_computing(model: psutil.Process) -> psutil.Process:
    """Return vLLM's own process, which has the most memory, or the model process itself."""
    family = [model, *model.children(recursive=True)]
    return max(family, key=lambda process: process.memory_info().rss) if len(family) > 1 else model


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
