"""The findings of a run as a table in Markdown, and the inputs that broke a rule as files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.cases import Case, Endpoint
from tests.fuzz.outcomes import RULES, Outcome

_MEGABYTE = 1_000_000


@dataclass
class Report:
    """The counts of a run; `lost` has the roles of processes that ended unexpectedly."""

    seed: int
    kept_in: Path
    inputs: int = 0
    given_up: int = 0
    slowest_s: float = 0.0
    elapsed_s: float = 0.0
    endpoints: Counter[Endpoint] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    lost: Sequence[str] = ()
    peak_bytes: Mapping[str, int] = field(default_factory=dict)
    at_the_end: list[str] = field(default_factory=list)
    """The faults of the server after the run."""

    def record(self, outcome: Outcome) -> None:
        """Count an outcome, and keep the input if its answer breaks a rule."""
        self.inputs += 1
        self.given_up += outcome.answer.is_given_up
        self.slowest_s = max(self.slowest_s, outcome.elapsed_s)
        self.endpoints[outcome.case.endpoint] += 1
        self.kinds[outcome.answer.kind] += 1
        if outcome.broken_rule:
            self.broken[outcome.broken_rule] += 1
            keep_case(self.kept_in, outcome.case, self.seed, why=f"{outcome.broken_rule}: {outcome.answer}")

    @property
    def is_good(self) -> bool:
        """Return whether no rule was broken."""
        return not (self.broken or self.lost or self.at_the_end)

    def render(self) -> str:
        """Return the table."""
        rows = [*self._goals(), *self._counts()]
        lines = ["| what | count | goal |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
        return "\n".join([self._headline(), "", *lines, *self._remarks()])

    def _headline(self) -> str:
        endpoints = ", ".join(f"{count} by {endpoint}" for endpoint, count in sorted(self.endpoints.items()))
        return f"`make fuzz SEED={self.seed}`: {self.inputs} inputs in {self.elapsed_s:.0f} s ({endpoints})."

    def _goals(self) -> list[tuple[str, str, str]]:
        broken = [(name, self.broken[name]) for name in RULES]
        goals = [*broken, ("processes lost, except sandboxed decoders", len(self.lost))]
        return [(name, str(count), "0") for name, count in goals]

    def _counts(self) -> list[tuple[str, str, str]]:
        kinds = [(kind, str(count), "–") for kind, count in sorted(self.kinds.items())]
        return [
            *kinds,
            ("sandboxed decoders that crashed or exceeded a limit", str(self.given_up), "–"),
            ("slowest answer, s", f"{self.slowest_s:.1f}", "–"),
            *(
                (f"highest memory of {role}, MB", f"{size // _MEGABYTE}", "–")
                for role, size in sorted(self.peak_bytes.items())
            ),
        ]

    def _remarks(self) -> list[str]:
        remarks = [f"Lost: {role}." for role in self.lost] + self.at_the_end
        if self.broken or self.lost:
            remarks.append(f"The inputs are kept in {self.kept_in}.")
        return ["", *remarks] if remarks else []


def keep_case(folder: Path, case: Case, seed: int, *, why: str) -> None:
    """Write an input to `folder`, with its recipe and the reason beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{seed}-{case.number}-{case.clip}"
    (folder / name).write_bytes(case.content)
    story = {
        "seed": seed,
        "number": case.number,
        "endpoint": case.endpoint,
        "recipe": case.recipe,
        "why": why,
    }
    (folder / f"{name}.json").write_text(json.dumps(story, indent=1))
