"""Clients that submit: each repeats a submit, with the same Idempotency-Key, until it is accepted."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import httpx

from scripts.chaos.clips import Clip, Clips
from scripts.chaos.ledger import Ledger
from scripts.chaos.patience import wait_until

SUBMITTERS = 4
MOST_UNFINISHED = 20
"""So many jobs wait or run at most, so that load lasts as long as the faults; twice as many during one."""

GIVE_UP_AFTER_S = 300.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 2.0
REPEATED_EVERY = 20
"""Every so manieth submit is repeated although it was accepted."""

RETRY_RULE = (
    f"A submit that is not accepted, or not answered, is repeated with its key after {FIRST_WAIT_S:g} s, "
    f"then twice as long each time, at most {LONGEST_WAIT_S:g} s whatever `Retry-After` says, for "
    f"{GIVE_UP_AFTER_S:g} s in all."
)


@dataclass
class Pace:
    """Jobs and faults wait for each other, so that the faults are spread over all jobs on any machine."""

    jobs: int
    faults: int
    ledger: Ledger

    def may_submit(self, number: int) -> bool:
        """Whether the job `number` may be submitted now."""
        is_under_fault = self.ledger.faults_begun > self.ledger.faults_done
        halves = 2 * self.ledger.faults_done + 1 + is_under_fault
        is_due = not self.faults or number < halves * self.jobs / (2 * self.faults)
        return is_due and len(self.ledger.unfinished) < MOST_UNFINISHED * (1 + is_under_fault)

    def is_fault_due(self, index: int) -> bool:
        """Whether enough jobs were accepted for the fault `index`."""
        return len(self.ledger.accepted) >= int((index + 0.4) * self.jobs / self.faults)


class Submitters:
    """Submit all jobs, in the order of their numbers."""

    def __init__(self, http: httpx.AsyncClient, clips: Clips, ledger: Ledger, *, run: str) -> None:
        self._http = http
        self._clips = clips
        self._ledger = ledger
        self._run = run
        self.replays = False  # whether the server honours Idempotency-Key

    async def find_out_whether_keys_are_honoured(self) -> None:
        """Submit one clip twice with one key: a server that knows of keys says so the second time."""
        clip = self._clips.make(0)
        answers = [await self._post(clip, "honoured") for _ in range(2)]
        self.replays = answers[1].headers.get("Idempotent-Replayed") == "true"
        for answer in answers:
            self._ledger.note_accepted(answer.raise_for_status().json()["id"], 0)

    async def run(self, pace: Pace) -> None:
        """Submit until every number was accepted or given up."""
        numbers = iter(range(1, self._ledger.jobs + 1))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SUBMITTERS):
                tasks.create_task(self._submit_in_turn(numbers, pace))

    async def _submit_in_turn(self, numbers: Iterator[int], pace: Pace) -> None:
        for number in numbers:
            await wait_until(partial(pace.may_submit, number - 1))
            await self._submit(number)

    async def _submit(self, number: int) -> None:
        clip = self._clips.make(number)
        began_s, retries, wait_s = time.monotonic(), 0, FIRST_WAIT_S
        while (job_id := await self._try(clip, number)) is None:
            retries += 1
            if time.monotonic() - began_s > GIVE_UP_AFTER_S:
                self._ledger.given_up += 1
                return
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        self._ledger.note_accepted(job_id, number)
        self._ledger.most_retries = max(self._ledger.most_retries, retries)
        if retries:
            self._ledger.longest_wait_s = max(self._ledger.longest_wait_s, time.monotonic() - began_s)
        if self.replays and number % REPEATED_EVERY == 0:
            await self._repeat(clip, number, job_id)

    async def _repeat(self, clip: Clip, number: int, job_id: str) -> None:
        again = await self._try(clip, number)
        if again is not None and again != job_id:
            self._ledger.replay_faults += 1

    async def _try(self, clip: Clip, number: int) -> str | None:
        """The id of the job if this submit is accepted."""
        try:
            answer = await self._post(clip, str(number))
        except httpx.TransportError as problem:
            self._ledger.note_refusal(f"no answer ({type(problem).__name__})")
            return None
        if answer.status_code == httpx.codes.ACCEPTED:
            self._ledger.replayed += "Idempotent-Replayed" in answer.headers
            return str(answer.json()["id"])
        self._ledger.note_refusal(f"{answer.status_code} {_code_of(answer)}")
        return None

    async def _post(self, clip: Clip, key: str) -> httpx.Response:
        return await self._http.post(
            "/v1/jobs",
            files={"file": (clip.name, clip.content)},
            headers={"Idempotency-Key": f"chaos-{self._run}-{key}"},
        )


def _code_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "without a code"
