"""What the harness knows while it runs: what was accepted, refused and finished."""

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """The books of one run; numbers are those of the clips."""

    jobs: int
    accepted: dict[str, int] = field(default_factory=dict)
    final: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    refusals_during: Counter[tuple[str, str]] = field(default_factory=Counter)
    retries: int = 0
    most_retries: int = 0
    longest_wait_s: float = 0.0
    given_up: int = 0
    replayed: int = 0
    replay_faults: int = 0  # a repeated submit was answered with another job
    faults_begun: int = 0
    faults_done: int = 0
    fault_now: str = "none"
    last_news_s: float = field(default_factory=time.monotonic)

    @property
    def unfinished(self) -> set[str]:
        """The accepted jobs that are not known to be final."""
        return self.accepted.keys() - self.final

    def note_accepted(self, job_id: str, number: int) -> None:
        """A submit was answered with 202."""
        self.accepted[job_id] = number
        self.last_news_s = time.monotonic()

    def note_final(self, job_ids: set[str]) -> None:
        """These jobs are final."""
        if job_ids:
            self.final |= job_ids
            self.last_news_s = time.monotonic()

    def note_refusal(self, answer: str) -> None:
        """A submit was not answered with 202; `answer` is status and code, or what broke."""
        self.refusals[answer] += 1
        self.refusals_during[self.fault_now, answer] += 1
        self.retries += 1
