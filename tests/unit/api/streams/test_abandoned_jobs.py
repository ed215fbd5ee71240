"""What Redis does not hear of clients that left is told again, for a while, and holds up nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from api.streams import abandoned_jobs
from api.streams.abandoned_jobs import AbandonedJobs
from shared.errors import QueueUnavailable
from shared.record.scripts import AsyncScriptRunner, ScriptCall
from tests.support.patience import wait_until


class MoodyRunner:
    """Fails the calls about the jobs that it is told to refuse, and knows all that it ran and tried."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.tried: list[str] = []
        self.ran: list[tuple[str, str]] = []

    async def run(self, call: ScriptCall[Any]) -> None:
        job_id = str(call.args[0])
        self.tried.append(job_id)
        if job_id in self.refused:
            raise QueueUnavailable
        self.ran.append((call.script, job_id))


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> MoodyRunner:
    monkeypatch.setattr(abandoned_jobs, "RETRY_S", 0.01)
    return MoodyRunner()


def create(runner: MoodyRunner, *, resume_s: float = 15) -> AbandonedJobs:
    return AbandonedJobs(cast(AsyncScriptRunner, runner), job_ttl_s=60, resume_s=resume_s)


@contextlib.asynccontextmanager
async def telling(abandoned: AbandonedJobs) -> AsyncIterator[None]:
    task = asyncio.create_task(abandoned.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_call_that_is_left_is_cancelled_and_a_stream_when_its_time_is_over(
    runner: MoodyRunner,
) -> None:
    abandoned = create(runner)
    async with telling(abandoned):
        abandoned.cancel("call")
        abandoned.cancel_unless_followed("stream")
        await wait_until(lambda: runner.ran == [("cancel", "call"), ("abandon", "stream")])


async def test_a_stream_without_time_to_come_back_is_cancelled_at_once(runner: MoodyRunner) -> None:
    abandoned = create(runner, resume_s=0)
    async with telling(abandoned):
        abandoned.cancel_unless_followed("stream")
        await wait_until(lambda: runner.ran == [("cancel", "stream")])


async def test_what_is_not_heard_is_told_again_behind_the_others(runner: MoodyRunner) -> None:
    abandoned = create(runner)
    runner.refused.add("1")
    async with telling(abandoned):
        abandoned.cancel("1")
        abandoned.cancel("2")
        await wait_until(lambda: runner.ran == [("cancel", "2")])
        runner.refused.clear()
        await wait_until(lambda: runner.ran == [("cancel", "2"), ("cancel", "1")])


async def test_telling_has_an_end(runner: MoodyRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abandoned_jobs, "LEAVE_PATIENCE_S", -1)
    abandoned = create(runner)
    runner.refused.add("1")
    async with telling(abandoned):
        abandoned.cancel("1")
        await wait_until(lambda: runner.tried == ["1"])
        runner.refused.clear()
        abandoned.cancel("2")
        await wait_until(lambda: runner.ran == [("cancel", "2")])
    assert runner.tried == ["1", "2"]


async def test_a_process_that_stops_tells_what_it_has_not_told(runner: MoodyRunner) -> None:
    abandoned = create(runner)
    abandoned.cancel("1")
    await abandoned.finish()
    assert runner.ran == [("cancel", "1")]


async def test_a_process_that_stops_does_not_wait_for_a_redis_that_is_silent(
    runner: MoodyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_call: ScriptCall[Any]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(abandoned_jobs, "LAST_WORDS_S", 0.01)
    monkeypatch.setattr(runner, "run", hang)
    abandoned = create(runner)
    abandoned.cancel("1")
    await abandoned.finish()
