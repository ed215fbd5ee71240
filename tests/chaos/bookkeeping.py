"""The bookkeeping of a run: jobs that were submitted, accepted, refused, answered and finished."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.chaos.mix import Ending, Endpoint


@dataclass(frozen=True)
class Submit:
    """A submit with all its repetitions; `expected` is the text of a correct answer.

    `ending` is the end of the job that its request leads to.
    """

    number: int
    endpoint: Endpoint
    key: str
    expected: str
    ending: Ending = Ending.SUCCEEDED


@dataclass
class Books:
    """The books of one run: jobs by their ids, refusals by the answer that the client got."""

    jobs: int
    accepted: dict[str, Submit] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)  # the texts that clients got
    beginnings: dict[str, list[str]] = field(default_factory=dict)  # the texts of incomplete streams
    stream_errors: list[tuple[str, str]] = field(default_factory=list)  # jobs and error codes
    cancelled: set[str] = field(default_factory=set)  # jobs whose cancel the server has confirmed
    deleted: set[str] = field(default_factory=set)  # jobs that had ended before a cancel, which deleted them
    unfinished: set[str] = field(default_factory=set)  # accepted, and not yet seen as final
    waiting: set[str] = field(default_factory=set)  # keys without a known job
    held_requests: int = 0  # open synchronous calls and streams
    on_server: Collection[str] = ()  # queued and running jobs, also those that no client knows yet
    final: int = 0
    refusals: Counter[tuple[str, Endpoint, str]] = field(default_factory=Counter)
    most_retries: int = 0
    longest_wait_s: float = 0.0
    given_up: int = 0
    broken_streams: int = 0
    disconnected_streams: int = 0
    replayed: int = 0
    second_jobs: int = 0  # repeated submits that were answered with another job
    faults_begun: int = 0
    faults_done: int = 0
    fault_now: str = "none"
    last_change_s: float = field(default_factory=time.monotonic)
    _job_of_key: dict[str, str] = field(default_factory=dict)

    @property
    def retries(self) -> int:
        """The number of requests that had to be repeated."""
        return self.refusals.total()

    def record_accepted(self, job_id: str, submit: Submit) -> None:
        """Record that the server has named a job to the client."""
        self.second_jobs += self._job_of_key.setdefault(submit.key, job_id) != job_id
        self.waiting.discard(submit.key)
        if job_id not in self.accepted:
            self.accepted[job_id] = submit
            self.unfinished.add(job_id)
            self.last_change_s = time.monotonic()

    def record_answer(self, job_id: str, text: str) -> None:
        """Record a text that the client got, so the job is final."""
        self.answers.setdefault(job_id, []).append(text)
        self.record_final({job_id} & self.unfinished)

    def record_beginning(self, job_id: str, text: str) -> None:
        """Record the beginning of a text that the client got from an incomplete stream."""
        self.beginnings.setdefault(job_id, []).append(text)

    def record_deleted(self, job_id: str) -> None:
        """Record that a cancel came after the end of the job, and deleted it."""
        self.deleted.add(job_id)
        self.record_final({job_id} & self.unfinished)

    def record_final(self, job_ids: set[str]) -> None:
        """Record that these unfinished jobs are final."""
        if job_ids:
            self.unfinished -= job_ids
            self.final += len(job_ids)
            self.last_change_s = time.monotonic()

    def record_refusal(self, endpoint: Endpoint, answer: str) -> None:
        """Record a request to repeat; `answer` is its status and code, or the broken connection."""
        self.refusals[self.fault_now, endpoint, answer] += 1
