"""The groups of jobs that workers held, and the crashes of their model processes, from the logs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FIELD = re.compile(r"(\w+)=(\S+)")
CRASHES = frozenset({"died", "given_up"})
"""The reasons for the end of a model process that count as its crash."""

Crash = frozenset[str]
"""The jobs that a worker held when its model process crashed."""


@dataclass
class GroupLog:
    """The facts about groups in the logs of the workers.

    `shared` are the jobs that had a companion in one of their claims. `batches` has the number of jobs in
    each batch.
    """

    claims: int = 0
    claims_with_companions: int = 0
    largest: int = 0
    shared: set[str] = field(default_factory=set)
    batches: list[int] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)

    def add_worker(self, lines: Iterable[str]) -> None:
        """Add all lines that one worker logged, through all its restarts."""
        held: dict[str, bool] = {}  # by job, whether it is counted as one with companions
        for line in lines:
            fields = dict(FIELD.findall(line))
            job_id = fields.get("job_id", "")
            match fields.get("event"):
                case "worker_started":
                    held.clear()
                case "job_claimed":
                    self.claims += 1
                    held[job_id] = False
                    self._note_companions(held)
                case "job_ended" | "job_requeued" | "claim_lost":
                    held.pop(job_id, None)
                case "batch_decoded":
                    self.batches.append(int(fields["jobs"]))
                case "model_process_ended" if held and fields.get("reason") in CRASHES:
                    self.crashes.append(frozenset(held))
                    held.clear()

    def _note_companions(self, held: dict[str, bool]) -> None:
        self.largest = max(self.largest, len(held))
        if len(held) > 1:
            self.claims_with_companions += sum(not is_counted for is_counted in held.values())
            self.shared |= held.keys()
            held.update(dict.fromkeys(held, True))


def count_misplaced_blame(crashes: Sequence[Crash], engine_crashes: Mapping[str, int]) -> int:
    """Return the crashes that were counted against a job although it was not alone in the model process."""
    alone = [next(iter(crash)) for crash in crashes if len(crash) == 1]
    return sum(max(0, counted - alone.count(job_id)) for job_id, counted in engine_crashes.items())
