"""`python -m tests.bench`: measure with the settings in the environment; print tables, write JSON and plots.

The exit code is 1 if a measurement fails or a count is wrong. A missed goal is only reported: the machine may
be the cause.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from tests.bench.at_rest import measure_rest
from tests.bench.cancels import measure_cancels
from tests.bench.cold_start import measure_cold
from tests.bench.engine_time import measure_clips
from tests.bench.event_loop import measure_loop
from tests.bench.figures import Findings
from tests.bench.gpu import measure_gpu
from tests.bench.job_rate import measure_jobs
from tests.bench.listening import measure_listeners
from tests.bench.long_files import measure_files
from tests.bench.loss import measure_loss
from tests.bench.machine import Busyness, watch_other_work
from tests.bench.qwen_engine import measure_qwen
from tests.bench.report import Report, write_findings
from tests.bench.resume_cost import measure_resumes
from tests.bench.settings import BenchSettings, Subject
from tests.bench.sync_calls import measure_sync
from tests.bench.true_size import measure_size
from tests.bench.upload_cost import measure_upload

PATHS = ("results", "report", "speech_dir")
GOOD, FAILED, BAD_SETTING, INTERRUPTED = 0, 1, 2, 130

_MEASUREMENTS: Mapping[Subject, Callable[[BenchSettings, Path], Awaitable[Findings]]] = {
    Subject.SYNC: measure_sync,
    Subject.JOBS: measure_jobs,
    Subject.CLIPS: measure_clips,
    Subject.FILES: measure_files,
    Subject.LOOP: measure_loop,
    Subject.LISTENERS: measure_listeners,
    Subject.REST: measure_rest,
    Subject.COLD: measure_cold,
    Subject.QWEN: measure_qwen,
    Subject.UPLOAD: measure_upload,
    Subject.RESUME: measure_resumes,
    Subject.CANCEL: measure_cancels,
    Subject.LOSS: measure_loss,
    Subject.SIZE: measure_size,
    Subject.GPU: measure_gpu,
}


def main() -> int:
    """Measure, print and write the report, and return the exit code."""
    try:
        settings = BenchSettings()
    except ValidationError as problem:
        first = problem.errors()[0]
        print(f"{str(first['loc'][0]).upper()}={first['input']}: {first['msg']}.")
        return BAD_SETTING
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    began, before = datetime.now(UTC), watch_other_work()
    try:
        findings = asyncio.run(_measure_all(settings, folder))
    except KeyboardInterrupt:
        return INTERRUPTED
    report = Report(_describe_command(), began, Busyness(before, watch_other_work()), findings)
    written = report.save(settings.results)
    if settings.report is not None:
        report.publish(settings.report)
    print(f"\n{report.busyness.describe()}\nWritten: {', '.join(map(str, written))}", flush=True)
    if len(findings) < len(settings.subjects) or not report.is_right:
        print(f"Not all could be measured, or a count is wrong. The logs are in {folder}.", flush=True)
        return FAILED
    shutil.rmtree(folder, ignore_errors=True)
    return GOOD


async def _measure_all(settings: BenchSettings, folder: Path) -> dict[str, Findings]:
    """Return the findings of each subject that could be measured, and print them as they come."""
    findings: dict[str, Findings] = {}
    for subject in settings.subjects:
        print(f"\nMeasuring: {subject} …", flush=True)
        began = datetime.now(UTC)
        try:
            found = findings[subject] = await _MEASUREMENTS[subject](settings, folder / subject)
        except Exception:  # noqa: BLE001 - border: the other subjects are measured nevertheless
            traceback.print_exc()
            continue
        took_s = (datetime.now(UTC) - began).total_seconds()
        print(f"\n{write_findings(found)}\n\nThis took {took_s:.0f} s.", flush=True)
    return findings


def _describe_command() -> str:
    """Return the command that repeats this run, without the paths of this machine."""
    names = [name.upper() for name in BenchSettings.model_fields if name not in PATHS]
    given = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return " ".join(["make bench", *given])


if __name__ == "__main__":
    sys.exit(main())
