"""Workers without a model: a thread that claims jobs through the real record and follows a script."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pytest

from shared.capabilities import Capabilities, ModelState, WorkerPresence
from shared.events import Event, Partial
from shared.jobs import Claim, Directive, Failure, JobState
from shared.record import transitions
from shared.record.connection import connect
from shared.record.scripts import ScriptCall
from shared.record.workers import announce_worker, retire_worker
from shared.transcripts import FinishedWindow, Segment, TokenCounts, TranscriptWarning
from tests.support.single_claims import beat_claim, claim_job

TTL_S = 60.0
LEASE_S = 30.0

CAPABILITIES = Capabilities(
    engine="scripted",
    model="tests/Scripted-0.6B",
    languages=frozenset({"en", "de", "zh", "tl"}),
    word_languages=frozenset({"en"}),
    context=True,
    streaming=True,
)


@dataclass(frozen=True)
class Script:
    """What becomes of a job: partials of the one window, its segments, then success, or a failure."""

    segments: Sequence[Segment] = ()
    partials: Sequence[str] = ()
    first: Sequence[Event] = ()
    warnings: tuple[TranscriptWarning, ...] = ()
    is_complete: bool = True
    token_counts: TokenCounts | None = None
    failure: Failure | None = None


@dataclass
class ScriptedWorker:
    """Runs every job by its script, within a `with` block.

    `step` is called before each event: a test can hold the worker there. It stops a job that is cancelled.
    """

    redis_url: str
    script: Script = field(default_factory=Script)
    capabilities: Capabilities = CAPABILITIES
    step: Callable[[], object] = lambda: None
    claims: list[Claim] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Announce the worker and begin to work."""
        self._runner = connect(self.redis_url)
        self._stopped = threading.Event()
        self._has_claimed = threading.Event()
        presence = WorkerPresence("scripted", self.capabilities, ModelState.READY, "cpu")
        self._runner.run(announce_worker(presence))
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop working and say so."""
        self._stopped.set()
        self._thread.join(timeout=10)
        self._runner.run(retire_worker("scripted"))

    def wait_for_claim(self) -> Claim:
        """The first job it takes, as soon as it has."""
        assert self._has_claimed.wait(timeout=30), "the worker got no job"
        return self.claims[0]

    def _work(self) -> None:
        while not self._stopped.is_set():
            claim = self._runner.run(self._claim_next())
            if claim is None:
                self._stopped.wait(0.001)
                continue
            self.claims.append(claim)
            self._has_claimed.set()
            self._finish(claim, self._perform(claim))

    def _claim_next(self) -> ScriptCall[Claim | None]:
        engine, model = self.capabilities.engine, self.capabilities.model
        return claim_job("scripted", engine=engine, model=model, lease_s=LEASE_S)

    def _perform(self, claim: Claim) -> Directive:
        for event in [*self.script.first, *(Partial(0, delta) for delta in self.script.partials)]:
            directive = self._pause(claim)
            if directive is not Directive.GO_ON:
                return directive
            self._runner.run(transitions.emit_event(claim, event))
        directive = self._pause(claim)
        if directive is Directive.GO_ON and self.script.segments:
            self._runner.run(transitions.finish_window(claim, self._window(claim)))
        return directive

    def _pause(self, claim: Claim) -> Directive:
        self.step()
        return self._runner.run(beat_claim(claim, lease_s=LEASE_S))

    def _window(self, claim: Claim) -> FinishedWindow:
        duration_s = claim.upload.duration_s
        return FinishedWindow(
            window=0,
            resume_sample=round(duration_s * 16_000),
            segments=tuple(self.script.segments),
            warnings=self.script.warnings,
            is_complete=self.script.is_complete,
            token_counts=self.script.token_counts,
        )

    def _finish(self, claim: Claim, directive: Directive) -> None:
        match directive, self.script.failure:
            case Directive.CANCEL, _:
                self._runner.run(transitions.finish_job(claim, JobState.CANCELLED, ttl_s=TTL_S))
            case Directive.GO_ON, None:
                self._runner.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
            case Directive.GO_ON, Failure() as failure:
                self._runner.run(transitions.finish_job(claim, JobState.FAILED, failure=failure, ttl_s=TTL_S))


@dataclass
class HeldWorker(ScriptedWorker):
    """Holds still before each event until `go_on` is set; the end of the `with` block sets it, too."""

    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Have each step wait."""
        self.step = self.go_on.wait

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Go on, stop working and say so."""
        self.go_on.set()
        super().__exit__(kind, error, trace)


@pytest.fixture
def worker(redis_url: str) -> Iterator[ScriptedWorker]:
    """A worker whose every job succeeds at once, with nothing said."""
    with ScriptedWorker(redis_url) as worker:
        yield worker


@pytest.fixture
def held_worker(redis_url: str) -> Iterator[HeldWorker]:
    """A worker that holds its first job until it is told to go on."""
    with HeldWorker(redis_url) as worker:
        yield worker
