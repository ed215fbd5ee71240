"""The outcome of a run: tables in Markdown, a JSON file, and plots."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.bench.figures import Findings
from tests.bench.machine import Busyness, describe_commit, describe_machine, list_versions
from tests.bench.plots import draw_findings
from tests.bench.svg import read_title
from tests.bench.tables import (
    describe_findings,
    tabulate_counts,
    tabulate_figures,
    tabulate_growths,
    tabulate_shares,
)

EXPLANATION = (
    "Each value is the median of its rounds, with the lowest and highest in brackets. Rounds of a figure and "
    "of its counterpart alternate, and every second round has the reverse order. A goal limits the value, or "
    "its comparison with the counterpart in the same round: the ratio (×), the gain in speed (× as fast) or "
    "the difference (added). A slope is the growth per step of the axis. With an exponent of 1 a figure "
    "grows in proportion, and with 0 not at all."
)


class UnusableOutput(Exception):
    """Raised when the files of a report could not be written; the message is a sentence with the setting."""


@dataclass(frozen=True)
class Circumstances:
    """The command of a run, its subjects, the speech and the beginning."""

    command: str
    subjects: Sequence[str]
    speech: str
    began: datetime


@dataclass(frozen=True)
class Report:
    """All findings of a run by their subject, with its circumstances."""

    run: Circumstances
    busyness: Busyness
    findings: Mapping[str, Findings]

    @property
    def is_right(self) -> bool:
        """Return whether all counts are right. Missed goals are no errors: the machine may be the cause."""
        return all(count.is_right for found in self.findings.values() for count in found.counts)

    @property
    def missing(self) -> Sequence[str]:
        """The subjects that failed or were not reached."""
        return [name for name in self.run.subjects if name not in self.findings]

    def write_text(self, plots_folder: str = "") -> str:
        """Return the report in Markdown; with a folder, its plots are shown."""
        head = [
            f"# Speed on {self.run.began:%Y-%m-%d}",
            f"`{self.run.command}` at {describe_commit()} on {describe_machine()}.",
            f"The speech is {self.run.speech}. {self.busyness.describe()}",
            *([f"**Not measured: {', '.join(self.missing)}.**"] if self.missing else []),
            EXPLANATION,
            "Versions: " + ", ".join(f"{name} {version}" for name, version in list_versions().items()) + ".",
        ]
        sections = []
        for name, found in self.findings.items():
            drawn = draw_findings(name, found) if plots_folder else {}
            plots = {f"{plots_folder}/{file}": read_title(drawing) for file, drawing in drawn.items()}
            sections.append(write_findings(found, plots))
        return "\n\n".join([*head, *sections]) + "\n"

    def publish(self, path: Path) -> Sequence[Path]:
        """Write the report in Markdown to `path`, and its plots to a folder of the same name beside it."""
        folder = path.with_suffix("")
        _write_files(folder, self._draw_plots())
        path.write_text(self.write_text(folder.name), encoding="utf-8")
        return [path, folder]

    def save(self, folder: Path) -> Sequence[Path]:
        """Write a JSON file named by the date to `folder`, and the plots to a folder of the same name."""
        content = {
            "command": self.run.command,
            "commit": describe_commit(),
            "speech": self.run.speech,
            "date": self.run.began.isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "load": {"before": self.busyness.before, "after": self.busyness.after},
            "versions": list_versions(),
            "missing": [*self.missing],
            "subjects": {name: describe_findings(found) for name, found in self.findings.items()},
        }
        name = f"{self.run.began:%Y-%m-%dT%H%M%S}"
        _write_files(folder, {f"{name}.json": json.dumps(content, indent=1) + "\n"})
        _write_files(folder / name, self._draw_plots())
        return [folder / f"{name}.json", folder / name]

    def _draw_plots(self) -> dict[str, str]:
        return {
            file: drawing
            for name, found in self.findings.items()
            for file, drawing in draw_findings(name, found).items()
        }


def write_findings(found: Findings, plots: Mapping[str, str] | None = None) -> str:
    """Return the section of one subject, with its plots by their paths and titles."""
    parts = [f"## {found.title}", found.notes]
    if found.figures:
        parts.append(tabulate_figures(found.figures))
    if found.counts:
        parts.append(tabulate_counts(found.counts))
    if found.growths:
        parts.append(tabulate_growths(found.growths))
    if found.shares:
        parts.append(tabulate_shares(found.shares))
    if plots:
        parts.append("\n".join(f"![{title}]({path})" for path, title in plots.items()))
    return "\n\n".join(parts)


def check_outputs(results: Path, report: Path | None) -> None:
    """Create the folders of the results and of the report, and try to write there.

    Raises:
        UnusableOutput: RESULTS or REPORT cannot be written.
    """
    _check_folder(f"RESULTS={results}", results)
    if report is None:
        return
    setting = f"REPORT={report}"
    if report.suffix != ".md":
        raise UnusableOutput(f"{setting}: it should end in .md.")
    _check_folder(setting, report.parent)
    _check_folder(setting, report.with_suffix(""))
    try:
        if report.exists():
            report.open("a").close()
    except OSError as error:
        raise UnusableOutput(f"{setting}: it cannot be written ({error.strerror}).") from error


def _check_folder(setting: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UnusableOutput(f"{setting}: {folder} cannot be written ({error.strerror}).") from error


def _write_files(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
