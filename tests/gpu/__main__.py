"""`python -m tests.gpu`: check the Qwen engines on a GPU, print a line for each check, and write a report.

DEVICE=cpu does the same with the miniature, as far as a CPU can. Settings are those of `make bench-gpu`. The
exit code is 1 if a check failed.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from shared.faults import explain_fault
from tests.bench.gpu_target import choose_target, describe_model
from tests.bench.machine import describe_commit, describe_machine
from tests.bench.settings import BenchSettings
from tests.gpu.run import run_checks
from tests.gpu.verdicts import Outcome, Verdict, summarise, write_report

GOOD, FAILED, BAD_SETTING = 0, 1, 2
REPORT_NAME = "gpu-test.md"


def main() -> int:
    """Check, print and write the report, and return the exit code."""
    try:
        settings = BenchSettings()
    except ValidationError as problem:
        first = problem.errors()[0]
        print(f"{str(first['loc'][0]).upper()}={first['input']}: {explain_fault(first)}.")
        return BAD_SETTING
    if choose_target(settings) is None:
        print("The environment of ENGINE=qwen3 is not set up: `make gpu-test` does it.")
        return BAD_SETTING
    report = settings.report or settings.results / REPORT_NAME
    report.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "machine": describe_machine(),
        "tree": describe_commit(),
        "model": describe_model(settings),
        "began": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as folder:
        verdicts = asyncio.run(_collect(run_checks(settings, Path(folder), facts), facts, report))
    print(f"\n{summarise(verdicts)} Written: {report}", flush=True)
    return FAILED if any(one.outcome is Outcome.FAILED for one in verdicts) else GOOD


async def _collect(found: AsyncIterator[Verdict], facts: dict[str, str], report: Path) -> list[Verdict]:
    """Print each verdict, and write the report with all verdicts so far."""
    verdicts: list[Verdict] = []
    async for verdict in found:
        print(verdict.describe(), flush=True)
        verdicts.append(verdict)
        await asyncio.to_thread(report.write_text, write_report(facts, verdicts))
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
