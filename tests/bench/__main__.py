"""`python -m tests.bench`: measure with the settings in the environment, and print the tables.

The exit code is 1 if a count is wrong. A missed goal of speed is only reported: the machine may be the cause.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from tests.bench.cancels import measure_cancels
from tests.bench.figures import Findings
from tests.bench.idle import measure_idle
from tests.bench.listening import measure_listeners
from tests.bench.loss import measure_loss
from tests.bench.machine import (
    Busyness,
    TooFewDescriptors,
    allow_connections,
    watch_other_work,
)
from tests.bench.overhead import measure_overhead
from tests.bench.report import Report, write_report
from tests.bench.settings import BenchSettings, Section

GOOD, COUNT_WRONG, BAD_SETTING, INTERRUPTED = 0, 1, 2, 130

_MEASUREMENTS: Mapping[Section, Callable[[BenchSettings, Path], Awaitable[Findings]]] = {
    Section.OVERHEAD: measure_overhead,
    Section.LOSS: measure_loss,
    Section.CANCEL: measure_cancels,
    Section.IDLE: measure_idle,
    Section.LISTENERS: measure_listeners,
}


def main() -> int:
    """Measure, print the report, and return the exit code."""
    try:
        settings = BenchSettings()
        allow_connections(settings.listeners if Section.LISTENERS in settings.sections else 0)
    except ValidationError as problem:
        first = problem.errors()[0]
        print(f"{str(first['loc'][0]).upper()}={first['input']}: {first['msg']}.")
        return BAD_SETTING
    except TooFewDescriptors as problem:
        print(problem)
        return BAD_SETTING
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        report = asyncio.run(_measure(settings, folder))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        print(f"The logs of all parts are in the folders of {folder}.", flush=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{report.text}")
    if settings.report is not None:
        settings.report.write_text(report.text, encoding="utf-8")
    return GOOD if report.is_right else COUNT_WRONG


async def _measure(settings: BenchSettings, folder: Path) -> Report:
    before = watch_other_work()
    findings = []
    for section in settings.sections:
        print(f"Measuring: {section} …", flush=True)
        findings.append(await _MEASUREMENTS[section](settings, folder / section))
    return write_report(settings, findings, Busyness(before, watch_other_work()))


if __name__ == "__main__":
    sys.exit(main())
