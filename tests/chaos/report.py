"""The report: each figure and its goal, the cost of each kind of fault, and the refusals that clients got."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos import checks
from tests.chaos.bookkeeping import Books
from tests.chaos.checks import Harm
from tests.chaos.clients import RETRY_RULE
from tests.chaos.evidence import NOTHING, Evidence, Figure, at_most, zero
from tests.chaos.faults import FaultKind
from tests.chaos.group_figures import measure_groups
from tests.chaos.mix import MIX

MODEL_GONE_WITHIN_S = 1.0
NOTICED_WITHIN_S = 2.0  # beside the lease


@dataclass(frozen=True)
class Report:
    """The outcome of a run."""

    figures: Sequence[Figure]
    text: str
    problems: Sequence[str] = field(default=())

    @property
    def is_good(self) -> bool:
        """Return whether no goal is missed."""
        return all(figure.is_met is not False for figure in self.figures)


def write_report(evidence: Evidence) -> Report:
    """Check the evidence and return the report."""
    problems = _list_problems(evidence)
    figures = [
        *_count_jobs(evidence),
        *measure_groups(evidence),
        *_measure_faults(evidence),
        *_count_answers(evidence),
    ]
    parts = [
        _head(evidence),
        _tabulate_figures(figures),
        _tabulate_endpoints(evidence),
        _tabulate_faults(evidence),
        _tabulate_refusals(evidence),
    ]
    if problems:
        parts.append("What went wrong:\n\n" + "\n".join(f"- {problem}" for problem in problems))
    return Report(figures, "\n\n".join(parts) + "\n", problems)


def _count_jobs(evidence: Evidence) -> list[Figure]:
    books = evidence.books
    harm = [found for facts in evidence.facts.values() for found in checks.find_harm(facts)]
    listened = [problem for problem in _list_gaps(evidence) if problem]
    extra = sum(map(checks.count_extra_attempts, evidence.innocents.values()))
    resumed = sum(trace.resumed for trace in evidence.traces)
    return [
        Figure("jobs", f"{len(books.accepted)} ({_count_probes(books)} as probes)"),
        Figure("jobs by endpoint", _count_by_endpoint(books)),
        zero("submits without an answer", books.given_up),
        *(zero(f"jobs {kind}", harm.count(kind)) for kind in Harm),
        zero("stream errors that the record does not explain", len(_list_unexplained(evidence))),
        _second_jobs(evidence),
        Figure("listeners", f"{len(evidence.traces)}, resumed {resumed} times"),
        zero("gaps and reorderings in their events", len(listened)),
        Figure("extra attempts", str(extra)),
    ]


def _count_probes(books: Books) -> int:
    """Return the number of submits outside the load, which explore the server."""
    return len({submit.key for submit in books.accepted.values()}) + books.given_up - books.jobs


def _count_by_endpoint(books: Books) -> str:
    endpoints = [submit.endpoint for submit in books.accepted.values()]
    return ", ".join(f"{endpoints.count(endpoint)} {endpoint}" for endpoint in MIX)


def _second_jobs(evidence: Evidence) -> Figure:
    unknown = evidence.records.keys() - evidence.books.accepted.keys()
    second = len(unknown) + evidence.books.second_jobs - checks.count_renewed(evidence.records.values())
    name = "duplicate jobs of repeated submits"
    if evidence.replays:
        return zero(name, second)
    return Figure(name, str(second), "not counted: the server does not honour Idempotency-Key")


def _measure_faults(evidence: Evidence) -> list[Figure]:
    faults, lease_s = evidence.faults, evidence.settings.lease_s
    costs = checks.share_out_attempts(evidence.innocents, faults)
    kills = [cost for fault, cost in zip(faults, costs, strict=True) if fault.fault.kind.is_kill]
    gone_s = [fault.model_gone_s for fault in faults if fault.model_gone_s is not None]
    ends_ms = [*(fault.began_ms for fault in faults[1:]), float("inf")]
    noticed = [
        checks.measure_notice_s(fault, next_ms, lease_s, evidence.records)
        for fault, next_ms in zip(faults, ends_ms, strict=False)
    ]
    noticed_s = [one for one in noticed if one is not None]
    return [
        at_most("most extra attempts after one kill of a worker or model process", kills, 1, "{:.0f}"),
        at_most("dead worker noticed after, s", noticed_s, lease_s + NOTICED_WITHIN_S, "{:.2f}"),
        at_most("model process gone after its worker, s", gone_s, MODEL_GONE_WITHIN_S, "{:.3f}"),
        zero("parts that ended unexpectedly", len(evidence.unexpected_ends)),
    ]


def _count_answers(evidence: Evidence) -> list[Figure]:
    books = evidence.books
    unforeseen = sum(count for (_, _, answer), count in books.refusals.items() if answer.startswith("500"))
    return [
        Figure("requests that were refused or cut, then repeated", str(books.retries)),
        Figure("requests answered from an earlier job", str(books.replayed)),
        zero("answers with 500", unforeseen),
        Figure("most repeats of one request", str(books.most_retries)),
        Figure("longest time until a repeated request was answered, s", f"{books.longest_wait_s:.1f}"),
    ]


def _list_gaps(evidence: Evidence) -> Iterable[str]:
    for trace in evidence.traces:
        record, facts = evidence.records.get(trace.job_id), evidence.facts.get(trace.job_id)
        if record is not None and facts is not None:
            for problem in checks.find_gaps(trace, record, facts.text):
                yield f"listener of {trace.job_id}: {problem}"


def _list_unexplained(evidence: Evidence) -> list[str]:
    return [
        f"{job_id}: its stream ended with {code}, but the job never restarted and has succeeded"
        for job_id, code in evidence.books.stream_errors
        if job_id in evidence.records and not checks.explains_break(evidence.records[job_id])
    ]


def _list_problems(evidence: Evidence) -> list[str]:
    harmed = [
        f"{job_id}: {', '.join(sorted(harm))}"
        for job_id, facts in evidence.facts.items()
        if (harm := checks.find_harm(facts))
    ]
    return [*harmed, *_list_unexplained(evidence), *_list_gaps(evidence), *evidence.unexpected_ends]


def _head(evidence: Evidence) -> str:
    settings = evidence.settings
    return (
        f"JOBS={settings.jobs} FAULTS={settings.faults} SEED={settings.seed} POOL={settings.pool} "
        f"ENGINE={settings.engine} LEASE_S={settings.lease_s:g} ROWS={settings.rows} "
        f"DOOMED={settings.doomed}: {evidence.took_s / 60:.1f} minutes, "
        f"2 workers, 1 api, Redis with appendonly everysec; disk full by {evidence.disk}."
    )


def _tabulate_figures(figures: Iterable[Figure]) -> str:
    verdicts = {True: "met", False: "**missed**", None: ""}
    rows = [(one.name, one.here, one.goal, verdicts[one.is_met]) for one in figures]
    return _tabulate(("figure", "here", "goal", ""), rows)


def _tabulate_endpoints(evidence: Evidence) -> str:
    books = evidence.books
    rows = []
    for endpoint in MIX:
        facts = [
            facts for job_id, facts in evidence.facts.items() if books.accepted[job_id].endpoint is endpoint
        ]
        answers = sum(len(one.answers) for one in facts)
        harmed = sum(bool(checks.find_harm(one)) for one in facts)
        repeated = sum(n for (_, used, _), n in books.refusals.items() if used is endpoint)
        rows.append((endpoint, str(len(facts)), str(harmed), str(answers or NOTHING), str(repeated)))
    head = ("endpoint", "jobs", "with any harm", "transcripts during the run", "requests repeated")
    continued = (
        f"{books.broken_streams} streams broke after they had named their job. Clients disconnected from "
        f"{books.disconnected_streams} others on purpose. These clients continued with `/v1/jobs/{{id}}`."
    )
    return f"{_tabulate(head, rows)}\n\n{continued}"


def _tabulate_faults(evidence: Evidence) -> str:
    costs = checks.share_out_attempts(evidence.innocents, evidence.faults)
    rows = []
    for kind in FaultKind:
        injected = [
            (fault, cost)
            for fault, cost in zip(evidence.faults, costs, strict=True)
            if fault.fault.kind is kind
        ]
        recoveries = [checks.measure_recovery_s(fault, evidence.records) for fault, _ in injected]
        held = [(fault.ended_ms - fault.began_ms) / 1000 for fault, _ in injected]
        attempts = sum(cost for _, cost in injected)
        refused = sum(n for (during, _, _), n in evidence.books.refusals.items() if during == kind)
        rows.append(
            (kind, str(len(injected)), _longest(held), _longest(recoveries), str(attempts), str(refused))
        )
    head = ("fault", "times", "longest, s", "slowest recovery, s", "extra attempts", "requests repeated")
    return _tabulate(head, rows)


def _longest(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.1f}" if known else NOTHING


def _tabulate_refusals(evidence: Evidence) -> str:
    rows = [
        (endpoint, answer, fault, str(times))
        for (fault, endpoint, answer), times in evidence.books.refusals.most_common()
    ]
    table = _tabulate(("endpoint", "answer", "last fault before", "times"), rows)
    return f"{table}\n\n{RETRY_RULE}" if rows else f"No request was refused. {RETRY_RULE}"


def _tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
