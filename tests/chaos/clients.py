"""Clients that send each request to one endpoint, and repeat it with the same key until it is answered."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import httpx

from tests.chaos.bookkeeping import Books, Submit
from tests.chaos.clips import SPEECH_FILES, Clip, Clips, SpeechClips
from tests.chaos.endpoints import Reply, ask
from tests.chaos.listeners import FINAL, Trace, follow_to_end
from tests.chaos.mix import Ending, Endpoint, draw_endpoint
from tests.chaos.waiting import wait_until

CLIENTS = 32
MAX_UNFINISHED = 20
"""The limit of unfinished jobs, so that load outlasts the faults; doubled during a fault."""

FAULT_DUE_AT, SHARE_BEFORE_FAULT, SHARE_UNDER_FAULT = 0.2, 0.8, 1.2

GIVE_UP_AFTER_S = 300.0
FIRST_WAIT_S, MAX_WAIT_S = 0.25, 2.0
POLL_S = 0.25
REPEATED_EVERY = 20
"""Each request whose number is a multiple of this is repeated although it was answered."""

DISCONNECT_EVERY = 5
"""A stream whose number is a multiple of this loses its client, which goes on with /v1/jobs."""

RETRY_RULE = (
    f"A request without an answer, or with a refusal, is repeated with its key after {FIRST_WAIT_S:g} s. "
    f"The wait doubles up to {MAX_WAIT_S:g} s, whatever `Retry-After` says, for {GIVE_UP_AFTER_S:g} s. "
    "If a stream breaks after it has named its job, its client continues with `/v1/jobs/{id}`."
)


@dataclass
class Pace:
    """The pace of a run: jobs and faults wait for each other, so that the faults spread over all jobs.

    Each fault has an equal share of the jobs. It is due early in its share, and jobs are submitted until late
    in it, so that there is load when the fault begins.
    """

    jobs: int
    faults: int
    books: Books

    def may_submit(self, number: int) -> bool:
        """Return whether the job `number` may be submitted now."""
        is_under_fault = self.books.faults_begun > self.books.faults_done
        shares = self.books.faults_done + (SHARE_UNDER_FAULT if is_under_fault else SHARE_BEFORE_FAULT)
        is_due = not self.faults or number < shares * self.jobs / self.faults
        open_jobs = len(self.books.unfinished) + len(self.books.waiting)
        return is_due and open_jobs < MAX_UNFINISHED * (1 + is_under_fault)

    def is_fault_due(self, index: int) -> bool:
        """Return whether enough jobs were accepted for the fault `index`."""
        known = len(self.books.accepted) + self.books.given_up
        return known >= int((index + FAULT_DUE_AT) * self.jobs / self.faults)


class Clients:
    """The clients of a run, which submit all jobs in order, each to the endpoint drawn for it.

    Those that must not succeed go to `/v1/jobs`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        clips: Clips,
        books: Books,
        *,
        seed: int,
        doomed: Mapping[int, Ending] | None = None,
    ) -> None:
        self._http = http
        self._clips = clips
        self._books = books
        self._seed = seed
        self._doomed = doomed or {}
        self.replays = False  # whether the server honours Idempotency-Key
        self.traces: list[Trace] = []  # the events of clients whose stream broke

    async def check_idempotency(self) -> None:
        """Submit one clip twice with one key, and note whether the server replays the first answer."""
        submit, clip = self._make_submit(0, Endpoint.JOBS)
        for _ in range(2):
            reply = await ask(self._http, submit.endpoint, clip, submit.key)
            self.replays = reply.is_replay
            if reply.job_id is None:
                raise RuntimeError(f"Before any fault, a job was not accepted: {reply.refusal}")
            self._books.record_accepted(reply.job_id, submit)

    async def learn_texts(self, clips: SpeechClips, endpoint: Endpoint) -> None:
        """Transcribe each recording with `endpoint`, to compare with the texts under faults."""
        for number in range(len(SPEECH_FILES)):
            submit, clip = self._make_submit(number, endpoint, run="learning")
            reply = await ask(self._http, endpoint, clip, submit.key)
            if reply.job_id is None:
                raise RuntimeError(f"Before any fault, a job was not accepted: {reply.refusal}")
            text = reply.text if reply.text is not None else await self._poll_text(reply.job_id)
            clips.learn(number, endpoint, text)
            self._books.record_accepted(reply.job_id, replace(submit, expected=text))

    async def run(self, pace: Pace) -> None:
        """Submit until every number was answered or given up."""
        numbers = iter(range(1, self._books.jobs + 1))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(self._submit_in_turn(numbers, pace))

    async def _submit_in_turn(self, numbers: Iterator[int], pace: Pace) -> None:
        for number in numbers:
            await wait_until(partial(pace.may_submit, number - 1))
            is_doomed = number in self._doomed
            endpoint = Endpoint.JOBS if is_doomed else draw_endpoint(self._seed, number)
            submit, clip = self._make_submit(number, endpoint)
            self._books.waiting.add(submit.key)
            try:
                async with asyncio.timeout(GIVE_UP_AFTER_S):
                    await self._get_answer(submit, clip)
            except TimeoutError:
                self._books.given_up += 1
            finally:
                self._books.waiting.discard(submit.key)

    async def _get_answer(self, submit: Submit, clip: Clip) -> None:
        began_s, retries, wait_s = time.monotonic(), 0, FIRST_WAIT_S
        disconnects = submit.number % DISCONNECT_EVERY == 0
        while (reply := await self._ask(submit, clip, disconnects_early=disconnects)).refusal:
            retries += 1
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, MAX_WAIT_S)
        self._books.most_retries = max(self._books.most_retries, retries)
        if retries:
            self._books.longest_wait_s = max(self._books.longest_wait_s, time.monotonic() - began_s)
        if submit.endpoint.is_streamed and reply.text is None and reply.job_id is not None:
            await self._continue_by_id(submit, reply)
        if submit.ending is Ending.CANCELLED and reply.job_id is not None:
            await self._cancel_when_running(reply.job_id)
        if self.replays and submit.number % REPEATED_EVERY == 0 and submit.ending is Ending.SUCCEEDED:
            await self._ask(submit, clip)

    async def _cancel_when_running(self, job_id: str) -> None:
        """Cancel the job while it is running; repeat that until the server has confirmed it."""
        while job_id not in self._books.cancelled | self._books.deleted:
            with suppress(httpx.TransportError):
                answer = await self._http.get(f"/v1/jobs/{job_id}")
                state = answer.json()["state"] if answer.status_code == httpx.codes.OK else ""
                if state in FINAL:
                    return
                if state == "running":
                    answer = await self._http.delete(f"/v1/jobs/{job_id}")
                    if answer.status_code in (httpx.codes.OK, httpx.codes.ACCEPTED):
                        self._books.cancelled.add(job_id)
                if answer.status_code in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND):
                    self._books.record_deleted(job_id)
            await asyncio.sleep(POLL_S)

    async def _ask(self, submit: Submit, clip: Clip, *, disconnects_early: bool = False) -> Reply:
        self._books.held_requests += submit.endpoint is not Endpoint.JOBS
        reply = await ask(self._http, submit.endpoint, clip, submit.key, disconnects_early=disconnects_early)
        self._books.held_requests -= submit.endpoint is not Endpoint.JOBS
        if reply.job_id is not None:
            self._books.record_accepted(reply.job_id, submit)
            self._record_texts(reply.job_id, reply)
        self._books.replayed += reply.is_replay
        if reply.refusal:
            self._books.record_refusal(submit.endpoint, reply.refusal)
        return reply

    def _record_texts(self, job_id: str, reply: Reply) -> None:
        """Record each text of the reply; the joined deltas are one more."""
        if reply.text is not None:
            for text in {reply.text, reply.text if reply.joined is None else reply.joined}:
                self._books.record_answer(job_id, text)
        elif reply.joined is not None:
            self._books.record_beginning(job_id, reply.joined)
        if reply.error_code:
            self._books.stream_errors.append((job_id, reply.error_code))

    async def _continue_by_id(self, submit: Submit, broken: Reply) -> None:
        """Follow the job of a stream that broke, or poll it."""
        job_id = str(broken.job_id)
        if broken.broke:
            self._books.broken_streams += 1
        else:
            self._books.disconnected_streams += 1
        if submit.number % 2:
            self.traces.append(trace := Trace(job_id))
            await follow_to_end(self._http, trace)
        self._books.record_answer(job_id, await self._poll_text(job_id))

    async def _poll_text(self, job_id: str) -> str:
        """Return the text of the job once it is final; empty if it has none."""
        while True:
            try:
                answer = await self._http.get(f"/v1/jobs/{job_id}")
            except httpx.TransportError:
                await asyncio.sleep(POLL_S)
                continue
            if answer.status_code == httpx.codes.OK and (job := answer.json())["state"] in FINAL:
                return str((job.get("transcript") or {}).get("text", ""))
            await asyncio.sleep(POLL_S)

    def _make_submit(self, number: int, endpoint: Endpoint, *, run: str = "run") -> tuple[Submit, Clip]:
        clip = self._clips.make(number, endpoint)
        key = f"chaos-{self._seed}-{run}-{endpoint}-{number}"
        return Submit(number, endpoint, key, clip.text, clip.ending), clip
