"""One run from start to report: the load, the faults and the listeners side by side, then the checks."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from tests.chaos.bed import TestBed
from tests.chaos.checks import JobFacts
from tests.chaos.clients import Clients, Pace
from tests.chaos.clips import SPEECH_FILES, Clips, NoiseClips, SpeechClips
from tests.chaos.disk import SmallDisk
from tests.chaos.faults import draw_faults
from tests.chaos.injection import Injected, Injector
from tests.chaos.ledger import Ledger, Submit
from tests.chaos.listeners import Listeners
from tests.chaos.patience import wait_until
from tests.chaos.records import Record, RecordReader
from tests.chaos.report import Evidence, Report, write_report
from tests.chaos.settings import ChaosSettings
from tests.chaos.shares import SHARES, Endpoint

TELL_EVERY_S = 5.0
LOOK_EVERY_S = 0.25
STUCK_AFTER_S = 120.0
"""A job is stuck when nothing has been accepted or become final for so long, beside some leases."""

LISTENERS_END_WITHIN_S = 60.0
READS_AT_ONCE = 8
READ_TRIES = 40
PATIENCE = httpx.Timeout(30, read=120)  # a synchronous call waits in the queue

Say = Callable[[str], None]


class ChaosRun:
    """One run on a test bed that is up."""

    def __init__(
        self, settings: ChaosSettings, bed: TestBed, http: httpx.AsyncClient, disk: SmallDisk | None, say: Say
    ) -> None:
        self._settings = settings
        self._bed = bed
        self._http = http
        self._say = say
        self._records = RecordReader(bed.redis_url)
        self._ledger = Ledger(settings.jobs)
        self._clips: Clips = NoiseClips(settings.seed) if settings.engine == "scripted" else SpeechClips()
        self._clients = Clients(http, self._clips, self._ledger, seed=settings.seed)
        self._listeners = Listeners(http, self._ledger)
        self._injector = Injector(
            bed, self._records, disk, is_front_busy=lambda: self._ledger.held_requests > 0
        )
        self._injected: list[Injected] = []
        self._disk = "shrinking a tmpfs that holds uploads and Redis" if disk else "RLIMIT_FSIZE on the api"
        self._began_s = time.monotonic()

    async def run(self) -> Report:
        """Load, faults, checks; returns the report."""
        await self._learn_speech()
        await self._clients.find_out_whether_keys_are_honoured()
        beside = [self._watch(), self._tell_progress(), self._listeners.run()]
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
        pace = Pace(self._settings.jobs, self._settings.faults, self._ledger)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clients.run(pace))
            tasks.create_task(self._inject_faults(pace))

    async def _learn_speech(self) -> None:
        """Transcribe each recording before any fault: that is what has to come back under them."""
        if not isinstance(self._clips, SpeechClips):
            return
        for endpoint in SHARES:
            await self._clients.learn_texts(self._clips, endpoint)
        for number, name in enumerate(SPEECH_FILES):
            self._say(f"{name}: {self._clips.make(number, Endpoint.JOBS).text}")

    async def _inject_faults(self, pace: Pace) -> None:
        faults = draw_faults(self._settings.seed, self._settings.faults, lease_s=self._settings.lease_s)
        for index, fault in enumerate(faults):
            await wait_until(partial(pace.is_fault_due, index))
            await asyncio.sleep(fault.pause_s)
            self._ledger.fault_now = fault.kind
            self._ledger.faults_begun += 1
            self._say(f"{self._clock()} {fault.kind} ({fault.target}, {fault.hold_s:.1f} s)")
            self._injected.append(await self._injector.inject(fault))
            self._ledger.faults_done += 1

    async def _watch(self) -> None:
        while True:
            self._ledger.on_server = await self._records.list_open()
            self._ledger.note_final(await self._records.find_final(frozenset(self._ledger.unfinished)))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            ledger = self._ledger
            jobs = f"{len(ledger.accepted)} of {ledger.jobs} accepted, {ledger.final} final"
            faults = f"{ledger.faults_done} of {self._settings.faults} faults"
            self._say(f"{self._clock()} {jobs}, {faults}, {ledger.retries} requests repeated")

    async def _wait_for_the_rest(self) -> None:
        limit_s = STUCK_AFTER_S + 4 * self._settings.lease_s
        ledger = self._ledger
        await wait_until(
            lambda: not ledger.unfinished or time.monotonic() - ledger.last_news_s > limit_s,
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
        records = await self._records.read_records(await self._records.list_jobs())
        return Evidence(
            settings=self._settings,
            ledger=self._ledger,
            faults=self._injected,
            facts=await self._gather_facts(records),
            records=records,
            traces=[*self._listeners.traces.values(), *self._clients.traces],
            unexpected_ends=self._bed.unexpected_ends,
            replays=self._clients.replays,
            took_s=took_s,
            disk=self._disk,
        )

    async def _gather_facts(self, records: dict[str, Record]) -> dict[str, JobFacts]:
        at_once = asyncio.Semaphore(READS_AT_ONCE)

        async def gather(job_id: str, submit: Submit) -> tuple[str, JobFacts]:
            async with at_once:
                text, answers = await self._read_text(job_id), self._ledger.answers.get(job_id, ())
                beginnings = tuple(self._ledger.beginnings.get(job_id, ()))
                record = records.get(job_id)
                return job_id, JobFacts(submit.expected, record, text, tuple(answers), beginnings)

        return dict(await asyncio.gather(*(gather(*one) for one in self._ledger.accepted.items())))

    async def _read_text(self, job_id: str) -> str | None:
        for _ in range(READ_TRIES):  # the last fault may still be felt
            with contextlib.suppress(httpx.TransportError):
                answer = await self._http.get(f"/v1/jobs/{job_id}")
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    transcript = answer.json().get("transcript")
                    return None if transcript is None else str(transcript["text"])
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began_s:5.0f} s"


async def run_chaos(settings: ChaosSettings, folder: Path, disk: SmallDisk | None, say: Say) -> Report:
    """Start a server in `folder`, whose `data` may be a small disk, run against it, and end it."""
    bed = TestBed(folder, folder / "data", settings)
    try:
        await bed.start()
        async with httpx.AsyncClient(base_url=bed.base_url, timeout=PATIENCE) as http:
            return await ChaosRun(settings, bed, http, disk, say).run()
    finally:
        await bed.stop()
