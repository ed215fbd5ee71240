"""The cost of resuming: CPU time of the decoders of a job in many claims, beside one pass."""

import asyncio
import sys
from pathlib import Path

import msgspec

from tests.bench.figures import Comparison, Figure, Findings, Goal
from tests.bench.line_process import open_line_process
from tests.bench.resume_process import MODULE, ResumeCost, ResumeOrder
from tests.bench.settings import BenchSettings

GOAL = Goal(1.2, Comparison.RATIO)
NOTES = (
    "A recording of {hours:g} h is decoded in one claim, then in {claims} claims of equal length, as if a "
    "job yielded so often. Each decoder runs in the server's sandbox, and reads 30 s beyond the end of its "
    "claim. Seconds are CPU time of all decoders."
)


async def measure_resumes(settings: BenchSettings, folder: Path) -> Findings:
    """Decode a recording in each container."""
    scale = settings.scale
    await asyncio.to_thread(folder.mkdir)
    figures = []
    async with open_line_process(sys.executable, MODULE) as process:
        for container in scale.containers:
            path = folder / f"recording.{container}"
            order = ResumeOrder(str(path), scale.resumed_hours, scale.resumes)
            cost = msgspec.json.decode(await process.ask(msgspec.json.encode(order)), type=ResumeCost)
            name = f"{container}, {scale.resumes} resumes"
            figures.append(Figure(name, "s", [cost.resumed_s], [cost.one_pass_s], "one pass", GOAL))
    notes = NOTES.format(hours=scale.resumed_hours, claims=scale.resumes + 1)
    return Findings("Jobs that resume", notes, figures)
