"""The model process stops where no work is lost, and an order for one run never affects another."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.jobs import Checkpoint, Claim, Endpoint, Priority, TranscriptionRequest, Upload
from shared.media.pcm_frames import PcmWriter
from tests.support.server import wait_for
from worker.model import messages
from worker.model.host import MAX_RESTARTS, RESTART_PERIOD_S, ModelHost, ModelProcessDied

WINDOWS = 2  # as much as a pipe takes unread
COMMAND = [sys.executable, "-P", "-m", "worker.model.process_start"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelHost]:
    """Provide a host of the scripted engine with windows of one second, although the environment differs."""
    for name, value in {"ENGINE": "auto", "WINDOW_S": "1", "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    host = ModelHost(COMMAND, environment={"ENGINE": "scripted"})
    yield host
    host.unload()


def make_claim(context: str | None = None) -> Claim:
    upload = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=WINDOWS)
    request = TranscriptionRequest(context=context)
    return Claim(
        "a", Endpoint.JOBS, Priority.BATCH, upload, request, claim_no=1, attempt=1, checkpoint=Checkpoint()
    )


def begin(host: ModelHost, claim: Claim) -> int:
    """Begin a job with WINDOWS seconds of silence, and return its run."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        run = host.begin_job(claim, reading)
        writer = PcmWriter(pipe)
        for _ in range(WINDOWS):
            writer.write(bytes(32_000))
        writer.end()
    os.close(reading)
    return run


def begin_batch(host: ModelHost) -> int:
    """Begin a job and its first batch, and return its run."""
    run = begin(host, make_claim())
    host.decode_batch()
    return run


def begin_slowly(host: ModelHost, *, seconds: int) -> tuple[int, int]:
    """Begin a job whose decoder stops writing after `seconds`; return its end of the pipe, and the run."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", closefd=False) as pipe:
        writer = PcmWriter(pipe)
        for _ in range(seconds):
            writer.write(bytes(32_000))
    run = host.begin_job(make_claim(), reading)
    host.decode_batch()
    os.close(reading)
    return writing, run


def hear_until(host: ModelHost, kind: type[messages.Report]) -> list[type[messages.Report]]:
    """Return the kinds of reports up to the first of `kind`, without partials and counts of rows."""
    heard: list[type[messages.Report]] = []
    passing = (messages.PartialDecoded, messages.RowsJoined)

    def look() -> bool:
        report = host.receive(0.05)
        if report is not None and not isinstance(report, passing):
            heard.append(type(report))
        return isinstance(report, kind)

    wait_for(look, what=kind.__name__)
    return heard


def test_it_decodes_one_batch_for_each_order(host: ModelHost) -> None:
    begin_batch(host)
    assert hear_until(host, messages.BatchDecoded)[-2:] == [messages.WindowDecoded, messages.BatchDecoded]
    assert host.receive(0.3) is None
    host.decode_batch()
    last = [messages.WindowDecoded, messages.JobDecoded, messages.BatchDecoded]
    assert hear_until(host, messages.BatchDecoded) == last


def test_between_two_batches_it_stops_without_starting_another_window(host: ModelHost) -> None:
    run = begin_batch(host)
    hear_until(host, messages.BatchDecoded)
    host.stop_job(run)
    assert hear_until(host, messages.JobStopped) == [messages.JobStopped]


def test_a_late_stop_does_not_affect_the_next_job(host: ModelHost) -> None:
    run = begin_batch(host)
    hear_until(host, messages.BatchDecoded)
    host.stop_job(run)
    hear_until(host, messages.JobStopped)
    host.stop_job(run)
    begin_batch(host)
    assert hear_until(host, messages.BatchDecoded) == [messages.WindowDecoded, messages.BatchDecoded]


@pytest.mark.parametrize(
    ("seconds", "last"), [(0, messages.Loaded), (2, messages.BatchDecoded)], ids=["first", "more"]
)
def test_it_stops_while_it_waits_for_audio(
    host: ModelHost, seconds: int, last: type[messages.Report]
) -> None:
    writing, run = begin_slowly(host, seconds=seconds)
    hear_until(host, last)
    if last is messages.BatchDecoded:
        host.decode_batch()
    host.stop_job(run)
    assert hear_until(host, messages.JobStopped)[-1:] == [messages.JobStopped]
    os.close(writing)
    hear_until(host, messages.BatchDecoded)
    begin_batch(host)
    assert hear_until(host, messages.BatchDecoded) == [messages.WindowDecoded, messages.BatchDecoded]


def test_a_process_that_keeps_dying_is_not_started_for_the_rest_of_a_minute(host: ModelHost) -> None:
    now = 1000.0
    mortal = ModelHost([sys.executable, "-c", ""], clock=lambda: now)
    for _ in range(MAX_RESTARTS + 1):
        assert mortal.may_start
        with pytest.raises(ModelProcessDied):  # noqa: PT012 - it may die before or after it took the job
            begin(mortal, make_claim())
            hear_until(mortal, messages.JobDecoded)
        now += 1
    assert not mortal.may_start
    now = 1001 + RESTART_PERIOD_S - 0.5
    assert not mortal.may_start
    now = 1001 + RESTART_PERIOD_S
    assert mortal.may_start


def test_giving_up_counts_as_a_death_and_unloading_does_not(host: ModelHost) -> None:
    for _ in range(MAX_RESTARTS + 2):
        begin(host, make_claim())
        host.unload()
    assert host.may_start
    for _ in range(MAX_RESTARTS + 1):
        begin(host, make_claim())
        host.give_up()
    assert not host.may_start
