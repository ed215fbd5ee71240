"""One run from start to report: load, faults and listeners at the same time, then the checks."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx

from tests.chaos.bookkeeping import Books, Submit
from tests.chaos.checks import JobFacts
from tests.chaos.clients import Clients, Pace
from tests.chaos.clips import SPEECH_FILES, Clips, NoiseClips, SpeechClips
from tests.chaos.disk import SmallDisk
from tests.chaos.environment import ServerEnvironment
from tests.chaos.evidence import Evidence
from tests.chaos.faults import draw_faults
from tests.chaos.injection import Injected, Injector
from tests.chaos.listeners import Listeners
from tests.chaos.mix import MIX, Ending, Endpoint, draw_doomed
from tests.chaos.records import Record, RecordReader
from tests.chaos.report import Report, write_report
from tests.chaos.settings import ChaosSettings
from tests.chaos.waiting import wait_until

PROGRESS_INTERVAL_S = 5.0
LOOK_EVERY_S = 0.25
STUCK_AFTER_S = 120.0
"""A job is stuck if no job was accepted or became final for this time plus four leases."""

LISTENERS_END_WITHIN_S = 60.0
READS_AT_ONCE = 8
READ_ATTEMPTS = 40
TIMEOUT = httpx.Timeout(30, read=120)  # a synchronous call waits in the queue

Show = Callable[[str], None]


class ChaosRun:
    """One run against a server that is ready."""

    def __init__(
        self,
        settings: ChaosSettings,
        environment: ServerEnvironment,
        http: httpx.AsyncClient,
        disk: SmallDisk | None,
        show: Show,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._http = http
        self._show = show
        self._records = RecordReader(environment.redis_url)
        self._books = Books(settings.jobs)
        is_scripted = settings.engine == "scripted"
        doomed = draw_doomed(settings.seed, settings.jobs, settings.doomed) if is_scripted else {}
        self._clips: Clips = NoiseClips(settings.seed, doomed) if is_scripted else SpeechClips()
        self._clients = Clients(http, self._clips, self._books, seed=settings.seed, doomed=doomed)
        self._listeners = Listeners(http, self._books)
        self._injector = Injector(
            environment, self._records, disk, is_front_busy=lambda: self._books.held_requests > 0
        )
        self._injected: list[Injected] = []
        self._disk = "shrinking a tmpfs that holds uploads and Redis" if disk else "RLIMIT_FSIZE on the api"
        self._began_s = time.monotonic()

    async def run(self) -> Report:
        """Run load, faults and checks, and return the report."""
        await self._learn_speech()
        await self._clients.check_idempotency()
        beside = [self._watch(), self._show_progress(), self._listeners.run()]
        tasks = [asyncio.create_task(one) for one in beside]
        try:
            await self._load_under_faults()
            await self._wait_for_the_rest()
            await self._wait_for_listeners()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        evidence = await self._gather_evidence()
        await self._records.close()
        return write_report(evidence)

    async def _load_under_faults(self) -> None:
        pace = Pace(self._settings.jobs, self._settings.faults, self._books)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clients.run(pace))
            tasks.create_task(self._inject_faults(pace))

    async def _learn_speech(self) -> None:
        """Transcribe each recording before any fault, to get the expected texts."""
        if not isinstance(self._clips, SpeechClips):
            return
        for endpoint in MIX:
            await self._clients.learn_texts(self._clips, endpoint)
        for number, name in enumerate(SPEECH_FILES):
            self._show(f"{name}: {self._clips.make(number, Endpoint.JOBS).text}")

    async def _inject_faults(self, pace: Pace) -> None:
        faults = draw_faults(self._settings.seed, self._settings.faults, lease_s=self._settings.lease_s)
        for index, fault in enumerate(faults):
            await wait_until(partial(pace.is_fault_due, index))
            await asyncio.sleep(fault.pause_s)
            self._books.fault_now = fault.kind
            self._books.faults_begun += 1
            self._show(f"{self._clock()} {fault.kind} ({fault.target}, {fault.hold_s:.1f} s)")
            self._injected.append(await self._injector.inject(fault))
            self._books.faults_done += 1

    async def _watch(self) -> None:
        while True:
            self._books.on_server = await self._records.list_open()
            self._books.record_final(await self._records.find_final(frozenset(self._books.unfinished)))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _show_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            books = self._books
            jobs = f"{len(books.accepted)} of {books.jobs} accepted, {books.final} final"
            faults = f"{books.faults_done} of {self._settings.faults} faults"
            self._show(f"{self._clock()} {jobs}, {faults}, {books.retries} requests repeated")

    async def _wait_for_the_rest(self) -> None:
        limit_s = STUCK_AFTER_S + 4 * self._settings.lease_s
        books = self._books
        await wait_until(
            lambda: not books.unfinished or time.monotonic() - books.last_change_s > limit_s,
            every_s=LOOK_EVERY_S,
        )

    async def _wait_for_listeners(self) -> None:
        traces = self._listeners.traces.values()
        await wait_until(
            lambda: all(trace.is_closed for trace in traces),
            every_s=LOOK_EVERY_S,
            within_s=LISTENERS_END_WITHIN_S,
        )

    async def _gather_evidence(self) -> Evidence:
        took_s = time.monotonic() - self._began_s
        await wait_until(self._records.is_reachable)  # the last fault may have been an outage
        records = await self._records.read_records(await self._records.list_jobs())
        return Evidence(
            settings=self._settings,
            books=self._books,
            faults=self._injected,
            facts=await self._gather_facts(records),
            records=records,
            traces=[*self._listeners.traces.values(), *self._clients.traces],
            unexpected_ends=self._environment.unexpected_ends,
            groups=self._environment.read_groups(),
            replays=self._clients.replays,
            took_s=took_s,
            disk=self._disk,
        )

    async def _gather_facts(self, records: dict[str, Record]) -> dict[str, JobFacts]:
        at_once = asyncio.Semaphore(READS_AT_ONCE)

        async def gather(job_id: str, submit: Submit) -> tuple[str, JobFacts]:
            async with at_once:
                text, answers = await self._read_text(job_id), self._books.answers.get(job_id, ())
                beginnings = tuple(self._books.beginnings.get(job_id, ()))
                record, endings = records.get(job_id), self._list_endings(job_id, submit)
                facts = JobFacts(submit.expected, record, text, tuple(answers), beginnings, endings)
                return job_id, facts

        books = self._books
        kept = [one for one in books.accepted.items() if one[0] not in books.deleted]
        return dict(await asyncio.gather(*(gather(*one) for one in kept)))

    def _list_endings(self, job_id: str, submit: Submit) -> Sequence[Ending]:
        """Return the ends that a job may have: without a confirmed cancel, the job may be too slow first."""
        if submit.ending is Ending.CANCELLED and job_id not in self._books.cancelled:
            return Ending.CANCELLED, Ending.TIMEOUT
        return (submit.ending,)

    async def _read_text(self, job_id: str) -> str | None:
        for _ in range(READ_ATTEMPTS):  # the last fault may still have effects
            with contextlib.suppress(httpx.TransportError):
                answer = await self._http.get(f"/v1/jobs/{job_id}")
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    transcript = answer.json().get("transcript")
                    return None if transcript is None else str(transcript["text"])
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began_s:5.0f} s"


async def run_chaos(settings: ChaosSettings, folder: Path, disk: SmallDisk | None, show: Show) -> Report:
    """Start a server in `folder`, whose `data` may be a small disk, run against it, and stop it."""
    environment = ServerEnvironment(folder, folder / "data", settings)
    try:
        await environment.start()
        async with httpx.AsyncClient(base_url=environment.base_url, timeout=TIMEOUT) as http:
            return await ChaosRun(settings, environment, http, disk, show).run()
    finally:
        await environment.stop()
