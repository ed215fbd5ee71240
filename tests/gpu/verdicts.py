"""The verdicts of the test, and its report."""

import traceback
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

BROKEN = "a check that broke"
ALL_OF_SERVER = "all checks of the server"


class Outcome(StrEnum):
    """The outcome of a check."""

    PASSED = "pass"  # the check was made, and the server did what it should
    FAILED = "FAIL"  # the server did something else, or the check broke
    NOT_APPLICABLE = "not applicable here"  # this machine cannot show it; the finding has the reason


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check of an engine, with the figures and facts that it found."""

    subject: str
    engine: str
    outcome: Outcome
    finding: str

    def describe(self) -> str:
        """Return a line for the terminal."""
        return f"{self.outcome}: {self.subject} ({self.engine}): {self.finding}"


@dataclass(frozen=True)
class Check:
    """The name of what is checked, and the engine that it is checked with."""

    subject: str
    engine: str

    def judge(self, finding: str, *, is_good: bool) -> Verdict:
        """Return the verdict of a check that was made."""
        return Verdict(self.subject, self.engine, Outcome.PASSED if is_good else Outcome.FAILED, finding)

    def leave_out(self, reason: str) -> Verdict:
        """Return the verdict of a check that this machine does not allow."""
        return Verdict(self.subject, self.engine, Outcome.NOT_APPLICABLE, reason)


async def guard(verdicts: AsyncGenerator[Verdict, None], engine: str) -> AsyncGenerator[Verdict, None]:
    """Yield the verdicts, and a failed one if the check itself breaks."""
    try:
        async for verdict in verdicts:
            yield verdict
    except Exception as error:  # noqa: BLE001 - border: the other checks are made nevertheless
        traceback.print_exc()
        name = getattr(verdicts, "__name__", "")
        yield Check(f"{BROKEN}: {name}", engine).judge(f"{type(error).__name__}: {error}", is_good=False)


def write_report(facts: Mapping[str, str], verdicts: Sequence[Verdict], answers: Sequence[str]) -> str:
    """Return the report in Markdown: the `answers`, the machine, then a row for each verdict."""
    return "\n".join(_write_lines(facts, verdicts, answers)) + "\n"


def _write_lines(
    facts: Mapping[str, str], verdicts: Sequence[Verdict], answers: Sequence[str]
) -> Iterator[str]:
    for answer in answers:
        yield answer.replace("\n", " ")
        yield ""
    yield "# The Qwen engines on this machine"
    yield ""
    yield summarise(verdicts)
    yield ""
    yield from (f"- {name}: {fact}" for name, fact in facts.items())
    yield ""
    yield "| check | engine | verdict | found |"
    yield "|---|---|---|---|"
    for verdict in verdicts:
        finding = verdict.finding.replace("|", "\\|").replace("\n", " ")
        yield f"| {verdict.subject} | {verdict.engine} | {verdict.outcome} | {finding} |"


def summarise(verdicts: Sequence[Verdict]) -> str:
    """Return a sentence with the number of each outcome."""
    counts = {one: sum(verdict.outcome is one for verdict in verdicts) for one in Outcome}
    return (
        f"{counts[Outcome.PASSED]} checks passed, {counts[Outcome.FAILED]} failed, and "
        f"{counts[Outcome.NOT_APPLICABLE]} are not applicable on this machine."
    )
