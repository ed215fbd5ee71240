"""The checks of the engine `qwen3` in a process of its own: device, memory, texts and stops."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from shared.engine_choice import NEEDED_CAPABILITY, NEEDED_CUDA, NEEDED_DRIVER
from tests.bench.gpu_target import GpuTarget
from tests.bench.line_process import LineProcess, open_line_process
from tests.gpu import messages
from tests.gpu.engine_process import MODULE
from tests.gpu.speech import TestSpeech
from tests.gpu.verdicts import Check, Verdict
from tests.support.same_text import is_same_text
from worker.engines.qwen3 import device as qwen3_device
from worker.settings import WorkerSettings

Answer = TypeVar("Answer", bound=msgspec.Struct)

GRACE_S = WorkerSettings.model_fields["cancel_grace_ms"].default / 1000
CONTEXT_BYTES = WorkerSettings.model_fields["max_context_bytes"].default
MAX_ROWS = qwen3_device._MAX_BATCH_WINDOWS
MAX_WORD_ERROR_RATE = 0.25
BATCH_SIZES = (1, 2, 4, 16)
FITTING = 2
MIN_COSINE = 0.995  # in bfloat16; without the mask, it is far less
ANSWER_WITHIN_S = 3_600.0  # with a download
MIB, GIB = 1 << 20, 1 << 30
NO_GPU = "there is no CUDA device in use"


class EngineProbe:
    """The process with the engine, and the checks that it allows."""

    def __init__(self, process: LineProcess, speech: TestSpeech, *, device: str) -> None:
        self._process = process
        self._speech = speech
        self._is_cpu = device == "cpu"
        self._device = device
        self._row_bytes = 0
        self._texts: list[str] = []

    async def describe_device(self) -> messages.DeviceFacts:
        """Return the facts about the device."""
        return await self._ask(messages.DescribeDevice(), messages.DeviceFacts)

    async def name_versions(self) -> str:
        """Return the versions of the software."""
        versions = (await self.describe_device()).versions
        return ", ".join(f"{name} {version}" for name, version in versions.items())

    async def check_device(self) -> AsyncGenerator[Verdict, None]:
        """Check the decisions about the device, its driver and attention."""
        facts = await self.describe_device()
        check = Check("compute capability and driver", "qwen3")
        decisions = "; ".join(f"DEVICE={wanted}: {decided}" for wanted, decided in facts.decisions.items())
        found = (
            f"capability {facts.capability} (limit {_join(NEEDED_CAPABILITY)}), driver for CUDA "
            f"{facts.driver_cuda} (limit {_join(NEEDED_CUDA)}, {NEEDED_DRIVER}), torch for "
            f"{', '.join(facts.architectures) or 'no GPU'}; {decisions}"
        )
        is_accepted = facts.decisions["cuda"].startswith("cuda")
        is_wanted = not self._is_cpu
        is_good = is_accepted == facts.has_computed and (is_accepted or not is_wanted)
        yield check.judge(found, is_good=is_good)
        check = Check("attention of vLLM", "qwen3-vllm")
        found = f"{facts.vllm_attention}; nvcc is {'present' if facts.has_nvcc else 'absent'}"
        prefers_flashinfer = facts.capability.startswith(("7.", "10."))
        if not facts.has_gpu:
            yield check.leave_out(f"{NO_GPU}; it would be: {found}")
        else:
            is_forced = facts.vllm_attention in {"FLASH_ATTN", "TRITON_ATTN"}
            yield check.judge(found, is_good=is_forced == (prefers_flashinfer and not facts.has_nvcc))

    async def check_load(self) -> AsyncGenerator[Verdict, None]:
        """Check that the model loads."""
        loaded = await self._ask(messages.LoadModel(), messages.ModelLoaded)
        memory = "unknown" if loaded.free_bytes is None else f"{loaded.free_bytes / GIB:.1f} GiB"
        if loaded.total_bytes is not None:
            memory += f" of {loaded.total_bytes / GIB:.1f} GiB"
        wanted = "cuda" if self._device == "auto" else self._device
        yield Check("load", "qwen3").judge(
            f"{loaded.device}, {loaded.dtype}, {loaded.attention}, {loaded.rows} rows "
            f"(limit {MAX_ROWS}, 0.5 GiB for each) in {loaded.load_s:.1f} s, free afterwards: {memory}",
            is_good=loaded.device.startswith(wanted),
        )

    async def check_blocks(self) -> AsyncGenerator[Verdict, None]:
        """Compare vectors and word errors with and without the block mask."""
        cosines = await self._ask(messages.CompareBlocks(), messages.BlocksCompared)
        yield Check("attention in blocks of 8 s", "qwen3").judge(
            f"vectors of 12 s at once and in blocks: cosine {cosines.with_mask:.4f} (limit {MIN_COSINE}) "
            f"with the mask, {cosines.without_mask:.4f} without",
            is_good=cosines.with_mask >= MIN_COSINE,
        )
        texts = await self._read_alone()
        errors = self._speech.count_errors(texts)
        check = Check("word errors", "qwen3")
        limit = 0.0 if self._is_cpu else MAX_WORD_ERROR_RATE
        found = f"{errors.rate:.1%} of {errors.words} words (limit {limit:.0%}), {self._speech.source}"
        yield check.judge(found, is_good=errors.rate <= limit)
        plain = await self._ask(messages.DecodeClips(1, keeps_blocks=False), messages.Texts)
        other = self._speech.count_errors(plain.texts)
        changed = sum(one != two for one, two in zip(texts, plain.texts, strict=True))
        found = (
            f"word errors {errors.rate:.1%} with the mask and {other.rate:.1%} without; {changed} of "
            f"{len(texts)} texts differ"
        )
        check = Check("word errors with and without blocks", "qwen3")
        if self._is_cpu:
            yield check.leave_out(f"each window of the miniature is one block; {found}")
        else:
            yield check.judge(found, is_good=errors.errors <= other.errors)

    async def check_batches(self) -> AsyncGenerator[Verdict, None]:
        """Compare the texts of batches of several sizes with those of windows alone."""
        await self._read_alone()
        for rows in BATCH_SIZES:
            found = await self._decode(rows)
            differing, is_same = self._compare(found.texts)
            kind = "equal" if self._is_cpu else "nearly equal"
            yield Check(f"texts in batches of {rows}", "qwen3").judge(
                f"{differing} of {len(found.texts)} texts differ from those of windows alone (limit: {kind})",
                is_good=is_same,
            )

    async def check_memory(self) -> AsyncGenerator[Verdict, None]:
        """Compare the memory of a row with the constant, without and with a context at its limit."""
        for context_bytes in (0, CONTEXT_BYTES):
            order = messages.MeasureMemory(1 if self._is_cpu else FITTING, context_bytes)
            found = await self._ask(order, messages.MemoryOfRows)
            check = Check(f"memory of a row, context of {context_bytes} bytes", "qwen3")
            if found.bytes_per_row is None:
                yield check.leave_out(f"{NO_GPU}; batches of {found.batches} rows were decoded")
                continue
            self._row_bytes = self._row_bytes or found.bytes_per_row
            # With a context at its limit, a row may take twice as much: then the batch is halved.
            allowed = found.allowed_bytes * (2 if context_bytes else 1)
            yield check.judge(
                f"{found.bytes_per_row / MIB:.0f} MiB (limit {allowed / MIB:.0f} MiB)",
                is_good=found.bytes_per_row <= allowed,
            )

    async def check_shortage(self) -> AsyncGenerator[Verdict, None]:
        """Check that a batch that does not fit is halved until it does."""
        await self._read_alone()
        if not self._row_bytes:  # a check before has ended the process
            measured = await self._ask(messages.MeasureMemory(FITTING, 0), messages.MemoryOfRows)
            self._row_bytes = measured.bytes_per_row or 0
        order = messages.ForceShortage(FITTING, FITTING * self._row_bytes)
        found = await self._ask(order, messages.Texts)
        _, is_same = self._compare(found.texts)
        kind = "simulated, " if self._is_cpu else f"{FITTING * self._row_bytes / MIB:.0f} MiB left, "
        yield Check("shortage of memory", "qwen3").judge(
            f"{kind}batches of {found.batches} rows, then at most {found.rows_afterwards} rows",
            is_good=is_same and min(found.batches) < max(found.batches),
        )

    async def check_stops(self, rows: int) -> AsyncGenerator[Verdict, None]:
        """Check that a stop in each phase of a batch takes less than the grace of a cancel."""
        for phase in messages.Phase:
            found = await self._ask(messages.StopDuring(phase, rows), messages.Stopped)
            check = Check(f"stop while {phase}" if phase == "preparing" else f"stop in {phase}", "qwen3")
            if found.took_s is None:
                yield check.judge("the phase was not reached", is_good=False)
                continue
            # The speed of a CPU does not matter here.
            limit = f"limit {GRACE_S * 1000:.0f} ms, CANCEL_GRACE_MS{' on a GPU' if self._is_cpu else ''}"
            yield check.judge(
                f"{found.took_s * 1000:.0f} ms ({limit}) for {found.stopped_rows} rows",
                is_good=found.stopped_rows == rows and (self._is_cpu or found.took_s <= GRACE_S),
            )

    async def check_words(self) -> AsyncGenerator[Verdict, None]:
        """Check that the aligner loads and works after a large batch."""
        found = await self._ask(messages.AlignWords(), messages.WordsFound)
        yield Check("word timestamps after a large batch", "qwen3").judge(
            found.error or f"{len(found.words)} words", is_good=bool(found.words)
        )
        check = Check("free memory before and after the cache is emptied", "qwen3")
        before, after = found.free_before_bytes, found.free_after_bytes
        if before is None or after is None:
            yield check.leave_out(NO_GPU)
        else:
            yield check.judge(f"{before / MIB:.0f} MiB, {after / MIB:.0f} MiB", is_good=after > before)

    async def _read_alone(self) -> list[str]:
        """Return the texts of windows alone, and keep them."""
        self._texts = self._texts or (await self._decode(1)).texts
        return self._texts

    async def _decode(self, rows: int) -> messages.Texts:
        return await self._ask(messages.DecodeClips(rows), messages.Texts)

    def _compare(self, texts: list[str]) -> tuple[int, bool]:
        """Return how many texts differ from those of windows alone, and whether all are the same."""
        clips = zip(self._texts, texts, self._speech.clips, strict=True)
        same = [
            is_same_text(alone, text, device=self._device, language=clip.language)
            for alone, text, clip in clips
        ]
        return sum(one != two for one, two in zip(self._texts, texts, strict=True)), all(same)

    async def _ask(self, order: messages.Order, answer: type[Answer]) -> Answer:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return msgspec.json.decode(await self._process.ask(msgspec.json.encode(order)), type=answer)


def _join(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


@asynccontextmanager
async def open_probe(
    target: GpuTarget, speech: TestSpeech, folder: Path, *, device: str
) -> AsyncIterator[EngineProbe]:
    """Start a process with the engine of `target`; it ends with the block."""
    clips = folder / "clips.npz"
    await asyncio.to_thread(speech.save_clips, clips)
    environment: Mapping[str, str] = {**os.environ, "DATA_DIR": str(folder), **target.settings}
    async with open_line_process(target.python, MODULE, str(clips), environment=environment) as process:
        yield EngineProbe(process, speech, device=device)
