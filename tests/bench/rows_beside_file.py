"""Clips beside a long file on the scripted engine: their wait, and the file's slowdown."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import Job
from shared.transcripts import join_segments
from tests.bench.clip_calls import Clip, ClipCalls, encode_clip
from tests.bench.clips import make_noise, write_wav
from tests.bench.figures import Comparison, Count, Figure, Goal
from tests.bench.job_watch import wait_for_state
from tests.bench.sender import Sender, open_sender, write_silent_wav
from tests.bench.server import BenchServer, serve
from tests.bench.settings import Scale
from tests.bench.worker_log import WorkerLog
from tests.support.record_readings import read_job
from worker.engines.scripted.engine import expected_words

ROWS, WINDOW_S, SPEED = 8, 30, 240
CLIP_S = 2
ALONE_CALLS = 5
LOOK_EVERY_S = 0.1
WAIT_GOAL = Goal(1.0, Comparison.RATIO)
SLOWDOWN_GOAL = Goal(1.25, Comparison.RATIO)


@dataclass(frozen=True)
class Round:
    """The values of one round, in seconds, and its counts."""

    file_alone_s: float
    file_beside_s: float
    clip_alone_s: float
    longest_batch_s: float
    waits_s: Sequence[float]
    requeues: int
    wrong: int


@dataclass(frozen=True)
class _Sides:
    """The server, the client that sends the file, and the clip."""

    server: BenchServer
    log: WorkerLog
    sender: Sender
    clip: Clip
    file_s: int

    async def begin_file(self) -> str:
        """Return the job of the file as soon as it runs."""
        (job_id,) = (await self.sender.send(1)).job_ids
        await wait_for_state(self.server, job_id, "running")
        return job_id

    async def finish_file(self, job_id: str) -> Job:
        """Return the job of the file when it has ended."""
        await wait_for_state(self.server, job_id, "succeeded", every_s=LOOK_EVERY_S)
        job = await self.server.ask(read_job(job_id))
        if job is None:
            raise RuntimeError(f"job {job_id} is gone")
        return job

    def is_wrong(self, job: Job) -> bool:
        """Return whether words of the file are missing or doubled."""
        words = expected_words(np.zeros(SAMPLE_RATE_HZ, np.float32)) * self.file_s
        return join_segments(job.segments) != " ".join(words)


async def measure_beside_file(folder: Path, scale: Scale) -> Sequence[Round]:
    """Decode the file alone and with one clip a second, in each round."""
    samples = make_noise(CLIP_S)
    words = " ".join(expected_words(samples.astype(np.float32) / np.float32(1 << 15)))
    clip, path = encode_clip(write_wav(samples), words), folder.with_name("long.wav")
    await asyncio.to_thread(write_silent_wav, path, scale.file_beside_clips_s * 2 * SAMPLE_RATE_HZ)
    settings = {"BATCH_WINDOWS": str(ROWS), "WINDOW_S": str(WINDOW_S), "SCRIPTED_SPEED": str(SPEED)}
    async with serve(folder, **settings) as server, open_sender(server.port, path) as sender:
        await server.start_worker()
        await ClipCalls(server.port).send_at_once([clip])  # loads the engine
        sides = _Sides(server, WorkerLog(server), sender, clip, scale.file_beside_clips_s)
        return [await _measure_round(sides) for _ in range(scale.few_rounds)]


async def _measure_round(sides: _Sides) -> Round:
    calls = ClipCalls(sides.server.port)
    clip_alone_s = [await calls.send_at_once([sides.clip]) for _ in range(ALONE_CALLS)]
    alone = await sides.finish_file(await sides.begin_file())
    sides.log.skip()
    job_id = await sides.begin_file()
    clips = [sides.clip] * max(1, int(_find_length_s(alone)))
    waits_s = await calls.send(clips, range(len(clips)))
    beside = await sides.finish_file(job_id)
    batches = await sides.log.read_batches(rows=sides.file_s // WINDOW_S + len(clips))
    return Round(
        file_alone_s=_find_length_s(alone),
        file_beside_s=_find_length_s(beside),
        clip_alone_s=median(clip_alone_s),
        longest_batch_s=max(batch.took_s for batch in batches),
        waits_s=waits_s,
        requeues=sides.log.count("job_requeued"),
        wrong=calls.wrong + sides.is_wrong(alone) + sides.is_wrong(beside),
    )


def _find_length_s(job: Job) -> float:
    """Return the seconds from the claim of a job to its end."""
    return ((job.finished_ms or 0) - (job.started_ms or 0)) / 1000


def describe_beside_file(rounds: Sequence[Round], file_s: int) -> tuple[list[Figure], list[Count]]:
    """Return the waits of clips, the slowdown of the file, and the times that it was requeued."""
    name = f"file of {file_s / 60:g} min"
    waits_s = [wait_s for one in rounds for wait_s in one.waits_s]
    bounds_s = [one.longest_batch_s + one.clip_alone_s for one in rounds]
    figures = [
        Figure(
            *(f"clip beside a {name}: longest wait", "s", [max(one.waits_s) for one in rounds], bounds_s),
            *("one batch and the clip alone", WAIT_GOAL),
        ),
        Figure(f"clip beside a {name}: all waits", "s", waits_s),
        Figure("clip alone", "s", [one.clip_alone_s for one in rounds]),
        Figure(f"longest batch of a {name}", "s", [one.longest_batch_s for one in rounds]),
        Figure(
            *(f"{name} with one clip a second", "s", [one.file_beside_s for one in rounds]),
            *([one.file_alone_s for one in rounds], "the file alone", SLOWDOWN_GOAL),
        ),
    ]
    return figures, [Count("times that a job was requeued for clips", sum(one.requeues for one in rounds), 0)]
