"""The outcome of a run: tables in Markdown, a JSON file, and plots."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.bench.figures import Findings
from tests.bench.machine import Busyness, describe_machine, list_versions
from tests.bench.plots import draw_findings
from tests.bench.tables import describe_findings, tabulate_counts, tabulate_figures, tabulate_growths

EXPLANATION = (
    "Each value is the median of all rounds, with the lowest and highest in brackets. Rounds of a figure and "
    "of its counterpart alternate. The goal limits the value or, if there is a counterpart, the compared "
    "value: the ratio, gain or difference of the two in the same round."
)


@dataclass(frozen=True)
class Report:
    """All findings of a run by their subject, with its circumstances."""

    command: str
    began: datetime
    busyness: Busyness
    findings: Mapping[str, Findings]

    @property
    def is_right(self) -> bool:
        """Return whether all counts are right. Missed goals are no errors: the machine may be the cause."""
        return all(count.is_right for found in self.findings.values() for count in found.counts)

    def write_text(self, plots_folder: str = "") -> str:
        """Return the report in Markdown; with a folder, its plots are shown."""
        head = [
            f"# Speed on {self.began:%Y-%m-%d}",
            f"`{self.command}` on {describe_machine()}. {self.busyness.describe()}",
            EXPLANATION,
            "Versions: " + ", ".join(f"{name} {version}" for name, version in list_versions().items()) + ".",
        ]
        sections = []
        for name, found in self.findings.items():
            plots = [f"{plots_folder}/{plot}" for plot in draw_findings(name, found)]
            sections.append(write_findings(found, plots if plots_folder else ()))
        return "\n\n".join([*head, *sections]) + "\n"

    def publish(self, path: Path) -> None:
        """Write the report in Markdown to `path`, and its plots to a folder of the same name beside it."""
        folder = path.with_suffix("")
        _write_files(folder, self._draw_plots())
        path.write_text(self.write_text(folder.name), encoding="utf-8")

    def save(self, folder: Path) -> Sequence[Path]:
        """Write the JSON file and the plots to `folder`, and return their paths."""
        content = {
            "command": self.command,
            "date": self.began.isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "load": {"before": self.busyness.before, "after": self.busyness.after},
            "versions": list_versions(),
            "subjects": {name: describe_findings(found) for name, found in self.findings.items()},
        }
        name = f"{self.began:%Y-%m-%dT%H%M%S}.json"
        return _write_files(folder, {name: json.dumps(content, indent=1) + "\n", **self._draw_plots()})

    def _draw_plots(self) -> dict[str, str]:
        return {
            file: drawing
            for name, found in self.findings.items()
            for file, drawing in draw_findings(name, found).items()
        }


def write_findings(found: Findings, plots: Sequence[str] = ()) -> str:
    """Return the section of one subject, with links to its plots."""
    parts = [f"## {found.title}", found.notes]
    if found.figures:
        parts.append(tabulate_figures(found.figures))
    if found.counts:
        parts.append(tabulate_counts(found.counts))
    if found.growths:
        parts.append(tabulate_growths(found.growths))
    if plots:
        parts.append("\n".join(f"![{Path(plot).stem}]({plot})" for plot in plots))
    return "\n\n".join(parts)


def _write_files(folder: Path, files: Mapping[str, str]) -> Sequence[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]
