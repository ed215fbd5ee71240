"""The report: the machine, then the tables of each section."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.figures import Findings, tabulate_counts, tabulate_series
from tests.bench.machine import Busyness, describe_machine
from tests.bench.settings import BenchSettings


@dataclass(frozen=True)
class Report:
    """The outcome of a run."""

    text: str
    is_right: bool
    """Return whether all counts are right; goals of speed are only reported."""


def write_report(settings: BenchSettings, findings: Sequence[Findings], busyness: Busyness) -> Report:
    """Return the report."""
    head = (
        f"CALLS={settings.calls} ROUNDS={settings.rounds} LISTENERS={settings.listeners} "
        f"EVENTS={settings.events} EVENTS_PER_S={settings.events_per_s:g} LEASE_S={settings.lease_s:g} "
        f"IDLE_TIMEOUT={settings.idle_timeout:g}: {describe_machine()}. {busyness.describe()}"
    )
    parts = [head, *(part for found in findings for part in _write_findings(found))]
    is_right = all(count.is_right for found in findings for count in found.counts)
    return Report("\n\n".join(parts) + "\n", is_right)


def _write_findings(found: Findings) -> list[str]:
    parts = [f"### {found.title}", found.notes]
    if found.series:
        parts.append(tabulate_series(found.series))
    if found.counts:
        parts.append(tabulate_counts(found.counts))
    return parts
