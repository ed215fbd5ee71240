"""Where jobs are rendered: short ones at once, long ones by few threads, in their turn."""

import asyncio
import threading

import msgspec
import pytest

from api.formats.rendering_threads import LONG_CHARACTERS, RenderingThreads
from shared.jobs import Job, JobState
from shared.transcripts import Segment
from tests.support.finished_job import make_finished_job

SHORT = make_finished_job(Segment(0.0, 1.0, "a" * LONG_CHARACTERS))
LONG = make_finished_job(Segment(0.0, 1.0, "a" * LONG_CHARACTERS), Segment(1.0, 2.0, "a"))
WITHIN_S = 20.0


class Held:
    """Renderings that go on when they are told to, and how many of them were begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.has_begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def render(self, job: Job) -> str:
        self.begun.append(job.job_id)
        self.has_begun.release()
        self.go_on.wait(WITHIN_S)
        return job.job_id


def find_thread(_job: Job) -> int:
    return threading.get_ident()


@pytest.mark.parametrize(
    ("job", "is_aside"),
    [(SHORT, False), (LONG, True), (msgspec.structs.replace(LONG, state=JobState.RUNNING), True)],
    ids=["short", "long", "long and unfinished"],
)
async def test_long_transcripts_alone_are_rendered_by_another_thread(job: Job, *, is_aside: bool) -> None:
    assert (await RenderingThreads().render(job, find_thread) != threading.get_ident()) is is_aside


async def test_what_cannot_be_rendered_fails_as_it_does_without_a_thread() -> None:
    def fail(job: Job) -> None:
        raise ValueError(job.job_id)

    for job in (SHORT, LONG):
        with pytest.raises(ValueError, match="7"):
            await RenderingThreads().render(job, fail)


async def test_two_are_rendered_at_once_and_who_left_while_waiting_is_left_out() -> None:
    threads, held = RenderingThreads(), Held()
    asked = [
        asyncio.create_task(threads.render(msgspec.structs.replace(LONG, job_id=job_id), held.render))
        for job_id in ("1", "2", "3", "4")
    ]
    for _ in range(2):
        assert await asyncio.to_thread(held.has_begun.acquire, timeout=WITHIN_S)
    assert held.begun == ["1", "2"]
    asked[2].cancel()
    await asyncio.sleep(0)
    held.go_on.set()
    assert await asyncio.gather(*asked[:2], asked[3]) == ["1", "2", "4"]
    assert held.begun == ["1", "2", "4"]
