"""The model host knows the state of its process, reports only on the current job, and leaves no process."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from shared.capabilities import UNREADY_S, ModelState
from shared.jobs import Checkpoint, Claim, Endpoint, Priority, TranscriptionRequest, Upload
from tests.support.model_reports import receive_until
from tests.support.server import wait_for
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied

STAND_IN = Path(__file__).with_name("stand_in_model_process.py")
UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=1.0)
CLAIM = Claim(
    "a",
    Endpoint.SYNC,
    Priority.BATCH,
    UPLOAD,
    TranscriptionRequest(),
    claim_no=1,
    attempt=1,
    checkpoint=Checkpoint(),
)

MakeHost = Callable[[str], ModelHost]


@pytest.fixture
def make_host() -> Iterator[MakeHost]:
    """Provide a factory of hosts with a given behaviour. All are unloaded at the end."""
    hosts: list[ModelHost] = []

    def make(behaviour: str) -> ModelHost:
        hosts.append(ModelHost([sys.executable, str(STAND_IN), behaviour]))
        return hosts[-1]

    yield make
    for host in hosts:
        host.unload()


def begin_job(host: ModelHost) -> int:
    """Begin a job without audio, and return its run."""
    with Path(os.devnull).open("rb") as audio:
        return host.begin_job(CLAIM, audio.fileno())


def state_of(host: ModelHost) -> ModelState:
    return host.state


def child_processes() -> list[psutil.Process]:
    """Return the stand-ins that run, and their children."""
    stand_ins = [child for child in psutil.Process().children() if str(STAND_IN) in child.cmdline()]
    return stand_ins + [grandchild for child in stand_ins for grandchild in child.children()]


def test_the_process_is_started_by_the_first_job_and_stays_for_the_next(make_host: MakeHost) -> None:
    host = make_host("obey")
    assert (state_of(host), child_processes()) == (ModelState.ABSENT, [])
    begin_job(host)
    assert state_of(host) is ModelState.LOADING
    receive_until(host, messages.Loaded)
    assert (state_of(host), host.device) == (ModelState.BUSY, "cpu")
    receive_until(host, messages.JobDecoded)
    assert state_of(host) is ModelState.READY
    processes = child_processes()
    begin_job(host)
    assert state_of(host) is ModelState.BUSY
    assert receive_until(host, messages.JobDecoded) == [messages.JobDecoded(2)]
    assert child_processes() == processes


def test_a_model_that_failed_to_load_counts_as_such_for_a_minute() -> None:
    now = [0.0]
    host = ModelHost([sys.executable, str(STAND_IN), "fail_load"], clock=lambda: now[0])
    begin_job(host)
    receive_until(host, messages.LoadFailed)
    host.unload()
    for now_s, has_failed in ((UNREADY_S - 1, True), (UNREADY_S, False)):
        now[0] = now_s
        assert host.has_failed_to_load is has_failed


def test_weights_for_word_timestamps_that_fail_to_load_are_no_failure_of_the_model(
    make_host: MakeHost,
) -> None:
    host = make_host("fail_to_load_another")
    begin_job(host)
    receive_until(host, messages.LoadFailed)
    assert host.load_error == "no second weights"
    assert not host.has_failed_to_load


@pytest.mark.parametrize(
    ("endpoint", "duration_s", "windows", "is_wanted"),
    [
        (Endpoint.STREAM, 10.0, 0, True),
        (Endpoint.STREAM, 9.9, 0, False),
        (Endpoint.STREAM, 30.0, 1, False),
        (Endpoint.SYNC, 30.0, 0, False),
        (Endpoint.JOBS, 30.0, 0, False),
    ],
)
def test_early_text_is_wanted_for_a_stream_of_long_audio_from_its_start(
    *, endpoint: Endpoint, duration_s: float, windows: int, is_wanted: bool
) -> None:
    upload = msgspec.structs.replace(UPLOAD, duration_s=duration_s)
    claim = msgspec.structs.replace(
        CLAIM, endpoint=endpoint, upload=upload, checkpoint=Checkpoint(windows=windows)
    )
    assert messages.make_order(1, claim).is_early_text_wanted is is_wanted


@pytest.mark.parametrize("priority", list(Priority))
def test_an_order_has_the_class_of_its_job(priority: Priority) -> None:
    claim = msgspec.structs.replace(CLAIM, priority=priority)
    assert messages.make_order(1, claim).priority is priority


def test_unloading_ends_the_process_and_a_later_job_gets_a_new_one(make_host: MakeHost) -> None:
    host = make_host("obey")
    begin_job(host)
    receive_until(host, messages.JobDecoded)
    host.unload()
    assert (host.state, child_processes()) == (ModelState.ABSENT, [])
    begin_job(host)
    receive_until(host, messages.JobDecoded)


def test_unloading_ends_child_processes_that_ignore_signals(make_host: MakeHost) -> None:
    host = make_host("with_a_grandchild")
    begin_job(host)
    receive_until(host, messages.JobDecoded)
    processes = child_processes()
    assert len(processes) == 2
    processes[1].terminate()
    with pytest.raises(psutil.TimeoutExpired):
        processes[1].wait(0.2)
    host.unload()
    assert not any(is_alive(process) for process in processes)


@pytest.mark.parametrize("is_looked_at", [True, False])
def test_the_death_of_a_process_ends_its_children(make_host: MakeHost, *, is_looked_at: bool) -> None:
    host = make_host("with_a_grandchild")
    begin_job(host)
    receive_until(host, messages.JobDecoded)
    process, grandchild = child_processes()
    process.kill()
    wait_for(lambda: not is_alive(process), what="the end of the model process")
    if is_looked_at:
        host.detect_death()
    else:
        begin_job(host)
    assert not is_alive(grandchild)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_that_ignores_the_end_of_its_channel_is_killed(make_host: MakeHost) -> None:
    host = make_host("ignore_the_end")
    begin_job(host)
    receive_until(host, messages.JobDecoded)
    host.unload()
    assert child_processes() == []


def end_the_idle_process(host: ModelHost) -> psutil.Process:
    """Let a process finish a job, and kill it while it waits for the next one."""
    begin_job(host)
    receive_until(host, messages.JobDecoded)
    (process,) = child_processes()
    process.kill()
    wait_for(lambda: not is_alive(process), what="the end of the model process")
    return process


def test_the_death_of_a_waiting_process_is_detected(make_host: MakeHost) -> None:
    host = make_host("obey")
    host.detect_death()
    assert state_of(host) is ModelState.ABSENT
    end_the_idle_process(host)
    assert state_of(host) is ModelState.READY
    host.detect_death()
    assert (state_of(host), child_processes()) == (ModelState.DEAD, [])
    host.detect_death()
    assert state_of(host) is ModelState.DEAD


def test_a_process_that_died_while_waiting_is_replaced_for_the_next_job(make_host: MakeHost) -> None:
    host = make_host("obey")
    end_the_idle_process(host)
    begin_job(host)
    assert state_of(host) is ModelState.LOADING
    receive_until(host, messages.JobDecoded)


def test_detection_does_not_disturb_a_waiting_process_or_its_next_job(make_host: MakeHost) -> None:
    host = make_host("obey")
    run = begin_job(host)
    receive_until(host, messages.JobDecoded)
    host.stop_job(run)  # too late, and answered all the same
    wait_for(lambda: not hears_nothing(host), what="an answer about the earlier run")
    processes = child_processes()
    host.detect_death()
    assert (state_of(host), child_processes()) == (ModelState.READY, processes)
    assert hears_nothing(host)
    begin_job(host)
    host.detect_death()
    assert receive_until(host, messages.JobDecoded) == [messages.JobDecoded(2)]


def hears_nothing(host: ModelHost) -> bool:
    assert host._child is not None
    return not host._child.is_readable(0)


@pytest.mark.parametrize("behaviour", ["die_in_load", "die_in_job"])
def test_a_process_that_dies_at_work_is_replaced(make_host: MakeHost, behaviour: str) -> None:
    host = make_host(behaviour)
    for _ in range(2):
        with pytest.raises(ModelProcessDied):  # noqa: PT012 - it may die before or after it took the job
            begin_job(host)
            receive_until(host, messages.JobDecoded)
        assert host.state is ModelState.DEAD
        assert host.is_idle
    assert child_processes() == []


def test_a_report_on_an_earlier_run_is_dropped(make_host: MakeHost) -> None:
    host = make_host("answer_an_old_run")
    begin_job(host)
    reports = receive_until(host, messages.JobDecoded)
    assert not any(isinstance(report, messages.JobFailed) for report in reports)


def test_a_second_model_may_be_loaded_in_the_middle_of_a_job(make_host: MakeHost) -> None:
    host = make_host("load_another")
    begin_job(host)
    receive_until(host, messages.Loaded)
    assert receive_until(host, messages.Loaded) == [
        messages.LoadPhaseBegun("second weights", 0.0),
        messages.Loaded("cpu", 0.1),
    ]
    assert state_of(host) is ModelState.BUSY
    receive_until(host, messages.JobDecoded)
    assert state_of(host) is ModelState.READY
    assert host._loads == 1


def test_a_job_can_be_stopped(make_host: MakeHost) -> None:
    host = make_host("wait_for_stop")
    run = begin_job(host)
    receive_until(host, messages.Loaded)
    host.stop_job(run)
    receive_until(host, messages.JobStopped)
    assert host.state is ModelState.READY


def test_a_dropped_job_is_heard_of_no_more_and_its_answer_is_awaited(make_host: MakeHost) -> None:
    host = make_host("wait_for_stop")
    dropped, other = begin_job(host), begin_job(host)
    receive_until(host, messages.Loaded)
    host.drop_job(dropped, reason="test")
    host.stop_job(other)
    assert receive_until(host, messages.JobStopped) == [messages.JobStopped(other)]
    host.end_dropped_jobs()  # its answer has come
    assert state_of(host) is ModelState.READY


def test_a_process_that_goes_on_with_a_dropped_job_is_ended(make_host: MakeHost) -> None:
    host = make_host("ignore_stop")
    dropped = begin_job(host)
    receive_until(host, messages.Loaded)
    host.drop_job(dropped, reason="test")
    host.end_dropped_jobs()
    assert (state_of(host), child_processes()) == (ModelState.ABSENT, [])


def test_a_process_is_busy_until_its_batch_is_done(make_host: MakeHost) -> None:
    host = make_host("obey")
    begin_job(host)
    host.decode_batch()
    receive_until(host, messages.JobDecoded)
    assert state_of(host) is ModelState.BUSY
    receive_until(host, messages.BatchDecoded)
    assert (state_of(host), host.max_rows, host.audio_second_s) == (ModelState.READY, 4, 0.1)


def test_killing_the_process_that_owns_the_host_ends_the_model_process(tmp_path: Path) -> None:
    owner_program = (
        "import os, sys, time, pathlib\n"
        "from tests.process.test_model_host import CLAIM\n"
        "from worker.model.host import ModelHost\n"
        "host = ModelHost([sys.executable, '-P', '-m', 'worker.model.process'])\n"
        "host.begin_job(CLAIM, os.open(os.devnull, os.O_RDONLY))\n"
        "time.sleep(600)\n"
    )
    owner = psutil.Popen(
        [sys.executable, "-c", owner_program],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"ENGINE": "scripted", "DATA_DIR": str(tmp_path)},
    )
    model = wait_for(lambda: next(iter(owner.children()), None), what="the start of the model process")
    owner.kill()
    owner.wait()
    wait_for(lambda: not is_alive(model), within_s=10, what="the end of the model process")
