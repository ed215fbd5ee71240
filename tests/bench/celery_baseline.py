"""Bare Celery, for comparison: the same broker and pool as the server, with a task that does nothing.

`python -m tests.bench.celery_baseline REDIS_URL` is its worker. A second task does the work of a synchronous
call: a sandboxed decoder examines and decodes the upload, and the scripted engine gets the samples. Its
caller stores the upload and waits with `AsyncResult.get`. There is no model process, no record of the job and
no events.
"""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import numpy as np
from celery import Celery

from scripts.purposes import REPOSITORY
from shared.broker import create_celery, to_kombu_url
from shared.media.client import create_media_service
from shared.media.samples import read_pcm
from shared.upload_store import UploadStore
from tests.support.media_files import only_samples
from worker.engines.scripted.engine import expected_words
from worker.settings import WorkerSettings

MODULE = "tests.bench.celery_baseline"
QUEUE = "bench"
ANSWER_WITHIN_S = 60.0
LONGEST_S = 60.0


def create_bare_celery(redis_url: str) -> Celery:
    """Return the app, with the configuration of the server and with results in its Redis."""
    celery = create_celery(redis_url)
    media = create_media_service(WorkerSettings())
    celery.conf.update(
        result_backend=to_kombu_url(redis_url), task_ignore_result=False, task_default_queue=QUEUE
    )

    @celery.task(name="bench.nothing", ignore_result=True)
    def do_nothing() -> None:
        """Do nothing."""

    @celery.task(name="bench.last")
    def end_series() -> str:
        """Return something, so that the caller notices the end of all tasks before this one."""
        return "done"

    @celery.task(name="bench.transcribe")
    def transcribe(path: str) -> str:
        """Return the text of the file."""
        media.start()  # does nothing after the first call
        with media.begin_probe(Path(path), stored_s=LONGEST_S) as probe:
            probe.receive_duration_s()
            samples = np.concatenate(list(only_samples(read_pcm(probe))))
        return " ".join(expected_words(samples))

    return celery


class BareCelery:
    """The caller of a running worker. Its calls block."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        self._celery = create_bare_celery(redis_url)
        self._uploads = UploadStore(folder / "celery-uploads")
        self._uploads.prepare()

    def run_nothing(self, count: int) -> None:
        """Run `count` tasks that do nothing; return when all are done."""
        for _ in range(count - 1):
            self._celery.send_task("bench.nothing", queue=QUEUE, ignore_result=True)
        self._celery.send_task("bench.last", queue=QUEUE).get(timeout=ANSWER_WITHIN_S)

    def transcribe(self, file: bytes) -> str:
        """Store the file as an upload, and return its text by `AsyncResult.get`."""
        name = uuid.uuid4().hex
        upload = self._uploads.begin(name)
        upload.write(file)
        upload.commit()
        path = self._uploads.path_of(name)
        answer = self._celery.send_task("bench.transcribe", (str(path),), queue=QUEUE)
        return str(answer.get(timeout=ANSWER_WITHIN_S))


@asynccontextmanager
async def open_bare_celery(redis_url: str, folder: Path) -> AsyncIterator[BareCelery]:
    """Start a worker on this Redis; it ends with the block."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE, redis_url), cwd=REPOSITORY, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        yield BareCelery(redis_url, folder)
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()


if __name__ == "__main__":
    create_bare_celery(sys.argv[1]).worker_main(
        ["--quiet", "worker", "--pool=solo", "--without-mingle", "--without-gossip", "--without-heartbeat"]
    )
