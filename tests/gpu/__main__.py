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
from tests.gpu.fitness import describe_fitness
from tests.gpu.plan import find_missing
from tests.gpu.run import run_checks
from tests.gpu.verdicts import Outcome, Verdict, summarise, write_report

GOOD, FAILED, BAD_SETTING, INTERRUPTED = 0, 1, 2, 130
UNFINISHED = "unfinished: the checks still run, or the test was killed."
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
    if settings.device == "cpu" and settings.model_id:
        print(f"MODEL_ID={settings.model_id} is ignored: DEVICE=cpu tries the miniature.", flush=True)
    facts = {
        "machine": describe_machine(),
        "tree": describe_commit(),
        "model": describe_model(settings),
        "began": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as folder:
        found = run_checks(settings, Path(folder), facts)
        try:
            asyncio.run(_collect(found, facts, report, verdicts))
        except KeyboardInterrupt:
            missing = ", ".join(find_missing(verdicts))
            answer = f"INTERRUPTED after {len(verdicts)} checks; not run: {missing}."
            report.write_text(write_report(facts, verdicts, [answer]))
            print(f"Interrupted after {len(verdicts)} checks. Written: {report}", flush=True)
            return INTERRUPTED
    answers = [*describe_fitness(verdicts, device=settings.device)]
    report.write_text(write_report(facts, verdicts, answers))
    print(f"\n{summarise(verdicts)} Written: {report}", *answers, sep="\n", flush=True)
    return FAILED if any(one.outcome is Outcome.FAILED for one in verdicts) else GOOD


async def _collect(
    found: AsyncIterator[Verdict], facts: dict[str, str], report: Path, verdicts: list[Verdict]
) -> None:
    """Print and keep each verdict.

    Nothing is awaited here but the checks. So an interrupt ends the check that runs, and all around it.
    """
    _write_unfinished(report, facts, verdicts)
    async for verdict in found:
        print(verdict.describe(), flush=True)
        verdicts.append(verdict)
        _write_unfinished(report, facts, verdicts)


def _write_unfinished(report: Path, facts: dict[str, str], verdicts: list[Verdict]) -> None:
    report.write_text(write_report(facts, verdicts, [UNFINISHED]))


if __name__ == "__main__":
    sys.exit(main())
