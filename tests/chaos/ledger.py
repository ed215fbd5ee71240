"""What the harness knows while it runs: what was submitted, accepted, refused, answered and finished."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.chaos.shares import Endpoint


@dataclass(frozen=True)
class Submit:
    """A submit, however often it is repeated; `expected` is the text that has to come back."""

    number: int
    endpoint: Endpoint
    key: str
    expected: str


@dataclass
class Ledger:
    """The books of one run; jobs are known by their ids, refusals by what the client saw."""

    jobs: int
    accepted: dict[str, Submit] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)  # the texts that clients got
    beginnings: dict[str, list[str]] = field(default_factory=dict)  # what streams gave that were not whole
    stream_errors: list[tuple[str, str]] = field(default_factory=list)  # jobs and codes
    unfinished: set[str] = field(default_factory=set)  # accepted, and not known to be final
    waiting: set[str] = field(default_factory=set)  # keys of which no job is known yet
    held_requests: int = 0  # synchronous calls and streams that are open
    on_server: Collection[str] = ()  # jobs that wait or run, whether their clients know of them or not
    final: int = 0
    refusals: Counter[tuple[str, Endpoint, str]] = field(default_factory=Counter)
    most_retries: int = 0
    longest_wait_s: float = 0.0
    given_up: int = 0
    broken_streams: int = 0
    left_streams: int = 0
    replayed: int = 0
    second_jobs: int = 0  # a repeated submit was answered with another job
    faults_begun: int = 0
    faults_done: int = 0
    fault_now: str = "none"
    last_news_s: float = field(default_factory=time.monotonic)
    _job_of_key: dict[str, str] = field(default_factory=dict)

    @property
    def retries(self) -> int:
        """How many requests had to be repeated."""
        return self.refusals.total()

    def note_accepted(self, job_id: str, submit: Submit) -> None:
        """The server has named a job to the client."""
        self.second_jobs += self._job_of_key.setdefault(submit.key, job_id) != job_id
        self.waiting.discard(submit.key)
        if job_id not in self.accepted:
            self.accepted[job_id] = submit
            self.unfinished.add(job_id)
            self.last_news_s = time.monotonic()

    def note_answer(self, job_id: str, text: str) -> None:
        """The client was given a text, so the job is final."""
        self.answers.setdefault(job_id, []).append(text)
        self.note_final({job_id} & self.unfinished)

    def note_beginning(self, job_id: str, text: str) -> None:
        """The client was given this much of the text, and then no more."""
        self.beginnings.setdefault(job_id, []).append(text)

    def note_final(self, job_ids: set[str]) -> None:
        """These unfinished jobs are final."""
        if job_ids:
            self.unfinished -= job_ids
            self.final += len(job_ids)
            self.last_news_s = time.monotonic()

    def note_refusal(self, endpoint: Endpoint, answer: str) -> None:
        """A request has to be repeated; `answer` is status and code, or what broke."""
        self.refusals[self.fault_now, endpoint, answer] += 1
