"""One run: inputs sent to the endpoints of a server until the time is over, several at once."""

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.cases import Case, Endpoint, make_case, read_clips
from tests.fuzz.guarded_server import HOST, GuardedServer, serve
from tests.fuzz.outcomes import Outcome
from tests.fuzz.report import Report, keep_case
from tests.fuzz.visitor import Visitor

AT_ONCE = 6
ENOUGH_BROKEN = 50
"""The number of broken rules that ends the run: a server that is down breaks one with each input."""
_DECODERS_END_WITHIN_S = 30.0
_UNDAMAGED = "speech.wav"


@dataclass(frozen=True)
class Plan:
    """The duration of a run, its seed and first input, and the folder for inputs that break a rule."""

    seconds: float
    seed: int
    first: int
    kept_in: Path


class FuzzRun:
    """A run that sends the inputs of a plan to one server, and records the outcomes."""

    def __init__(self, plan: Plan, server: GuardedServer, clips: Mapping[str, bytes]) -> None:
        self._plan = plan
        self._server = server
        self._clips = clips
        self._report = Report(plan.seed, plan.kept_in)
        self._numbers: Iterator[int] = itertools.count(plan.first)
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._under_way: dict[int, Case] = {}

    def run(self) -> Report:
        """Warm the server up, send inputs, then check the server."""
        self._server.wait_until_ready()
        self._visit_undamaged("before the run")
        self._server.watch_all()
        began_s = time.monotonic()
        with self._server.watching(), ThreadPoolExecutor(AT_ONCE) as threads:
            ends_s = began_s + self._plan.seconds
            try:
                for visiting in [threads.submit(self._visit_until, ends_s) for _ in range(AT_ONCE)]:
                    visiting.result()
            finally:
                self._is_over.set()  # Ctrl-C ends the threads, too
        self._report.elapsed_s = time.monotonic() - began_s
        self._check_server()
        return self._report

    def _visit_until(self, ends_s: float) -> None:
        visitor = Visitor(HOST, self._server.port)
        while time.monotonic() < ends_s and not self._is_over.is_set():
            outcome = self._visit_next(visitor)
            with self._lock:
                self._record(outcome)

    def _visit_next(self, visitor: Visitor) -> Outcome:
        with self._lock:
            number = next(self._numbers)
        case = make_case(self._clips, seed=self._plan.seed, number=number)
        with self._lock:
            self._under_way[number] = case
        return visitor.visit(case)

    def _record(self, outcome: Outcome) -> None:
        self._report.record(outcome)
        if self._report.broken.total() >= ENOUGH_BROKEN:
            self._is_over.set()
        if len(self._server.lost) > len(self._report.lost):
            self._report.lost = list(self._server.lost)
            for case in self._under_way.values():
                keep_case(
                    self._plan.kept_in, case, self._plan.seed, why=f"under way when lost: {self._report.lost}"
                )
        del self._under_way[outcome.case.number]

    def _visit_undamaged(self, when: str) -> None:
        case = Case(-1, Endpoint.SYNC, _UNDAMAGED, _UNDAMAGED, self._clips[_UNDAMAGED])
        answer = Visitor(HOST, self._server.port).visit(case).answer
        if answer.state != "succeeded":
            self._report.at_the_end.append(f"An undamaged file was not transcribed {when}: {answer}.")

    def _check_server(self) -> None:
        self._visit_undamaged("after the run")
        self._report.lost = list(self._server.lost)
        self._report.peak_bytes = self._server.peak_bytes
        deadline = time.monotonic() + _DECODERS_END_WITHIN_S
        while self._server.count_decoders() and time.monotonic() < deadline:
            time.sleep(0.1)
        if alive := self._server.count_decoders():
            self._report.at_the_end.append(f"{alive} decoders did not end.")
        if left := self._server.count_unfinished_uploads():
            self._report.at_the_end.append(f"{left} unfinished uploads are left on disk.")


def fuzz(plan: Plan) -> Report:
    """Start a server, run `plan`, and stop the server."""
    with serve() as server:
        return FuzzRun(plan, server, read_clips()).run()
