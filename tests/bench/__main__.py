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

from shared.faults import explain_fault
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
from tests.bench.report import (
    EXPLANATION,
    Circumstances,
    Report,
    UnusableOutput,
    check_outputs,
    write_findings,
)
from tests.bench.resume_cost import measure_resumes
from tests.bench.rows import measure_rows
from tests.bench.settings import BenchSettings, Subject
from tests.bench.speech import describe_source
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
    Subject.ROWS: measure_rows,
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
        check_outputs(settings.results, settings.report)
    except ValidationError as problem:
        first = problem.errors()[0]
        print(f"{str(first['loc'][0]).upper()}={first['input']}: {explain_fault(first)}.")
        return BAD_SETTING
    except UnusableOutput as problem:
        print(problem)
        return BAD_SETTING
    print(EXPLANATION, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    writer = _Writer(settings)
    try:
        asyncio.run(_measure_all(settings, folder, writer))
    except KeyboardInterrupt:
        report = writer.write()
        print(f"\nInterrupted. {writer.describe(report)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return INTERRUPTED
    report = writer.write()
    print(f"\n{writer.describe(report)}", flush=True)
    if report.missing or not report.is_right:
        print(f"Not all could be measured, or a count is wrong. The logs are in {folder}.", flush=True)
        return FAILED
    shutil.rmtree(folder, ignore_errors=True)
    return GOOD


class _Writer:
    """The findings so far, and their files."""

    def __init__(self, settings: BenchSettings) -> None:
        self.findings: dict[str, Findings] = {}
        self._settings = settings
        speech = describe_source(settings.speech_dir)
        self._run = Circumstances(_describe_command(), settings.subjects, speech, datetime.now(UTC))
        self._before = watch_other_work()
        self._written: list[Path] = []

    def write(self) -> Report:
        """Write all files with the findings so far, and return the report."""
        report = Report(self._run, Busyness(self._before, watch_other_work()), self.findings)
        self._written = [*report.save(self._settings.results)]
        if self._settings.report is not None:
            self._written += report.publish(self._settings.report)
        return report

    def describe(self, report: Report) -> str:
        """Return the last lines of the output: the load of the machine, what is missing, and the files."""
        missing = [f"Not measured: {', '.join(report.missing)}."] if report.missing else []
        return "\n".join(
            [report.busyness.describe(), *missing, f"Written: {', '.join(map(str, self._written))}"]
        )


async def _measure_all(settings: BenchSettings, folder: Path, writer: _Writer) -> None:
    """Measure each subject that can be measured, print its findings, and write all files again."""
    for subject in settings.subjects:
        print(f"\nMeasuring: {subject} …", flush=True)
        began = datetime.now(UTC)
        try:
            found = writer.findings[subject] = await _MEASUREMENTS[subject](settings, folder / subject)
        except Exception as error:  # border: the other subjects are measured nevertheless
            if _is_interrupted():
                raise asyncio.CancelledError from error
            traceback.print_exc()
            continue
        took_s = (datetime.now(UTC) - began).total_seconds()
        print(f"\n{write_findings(found)}\n\nThis took {took_s:.0f} s.", flush=True)
        writer.write()


def _is_interrupted() -> bool:
    """Return whether Ctrl-C ended the task; a part that ended with it may have raised an error of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _describe_command() -> str:
    """Return the command that repeats this run, without the paths of this machine."""
    names = [name.upper() for name in BenchSettings.model_fields if name not in (*PATHS, "gpu")]
    given = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    speech = ["SPEECH_DIR=…"] if os.environ.get("SPEECH_DIR") else []
    return " ".join(["make bench-gpu" if os.environ.get("GPU") else "make bench", *given, *speech])


if __name__ == "__main__":
    sys.exit(main())
