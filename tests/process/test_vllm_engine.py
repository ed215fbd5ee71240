"""The model process with the engine `qwen3-vllm` on a stub of vLLM: it serves, stops, and leaves nothing."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scripts.purposes import REPOSITORY
from shared.jobs import Checkpoint, Claim, Endpoint, Priority, TranscriptionRequest, Upload
from shared.media.pcm_frames import PcmWriter
from tests.support.model_reports import find_windows, receive_until
from tests.support.server import wait_for
from tests.support.tiny_qwen3 import SAMPLES, TINY
from worker.engines.qwen3.vllm_model import ENGINE_LOST_EXIT_CODE
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied

DRIVER = Path(__file__).with_name("vllm_model_process.py")
UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=5.0)
CLAIM = Claim(
    "a",
    Endpoint.STREAM,
    Priority.INTERACTIVE,
    UPLOAD,
    TranscriptionRequest(),
    claim_no=1,
    attempt=1,
    checkpoint=Checkpoint(),
)

MakeHost = Callable[..., ModelHost]


@pytest.fixture
def make_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MakeHost]:
    """A factory of hosts whose vLLM lives for so many steps of such a length; all hosts are unloaded."""
    settings = {"ENGINE": "qwen3-vllm", "MODEL_ID": str(TINY), "DATA_DIR": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # for the stub, which is not installed
    hosts: list[ModelHost] = []

    def make(*, lives_for_steps: int = 1_000_000, step_s: float = 0.0) -> ModelHost:
        hosts.append(ModelHost([sys.executable, str(DRIVER), str(lives_for_steps), str(step_s)]))
        return hosts[-1]

    yield make
    for host in hosts:
        host.unload()


def begin_job(host: ModelHost, tmp_path: Path) -> int:
    """Order a batch of a job with some seconds of speech, by a file in place of the pipe; return its run."""
    sample = next(sample for name, sample in SAMPLES.items() if name == "de_digits5")
    pcm = (sample.read() * 32_767).astype("<i2").tobytes()
    path = tmp_path / "audio"
    with path.open("wb") as file:
        writer = PcmWriter(file)
        writer.write(pcm)
        writer.end()
    with path.open("rb") as audio:
        run = host.begin_job(CLAIM, audio.fileno())
    host.decode_batch()
    return run


def family() -> list[psutil.Process]:
    """The model process and its children."""
    parents = [child for child in psutil.Process().children() if str(DRIVER) in child.cmdline()]
    return parents + [grandchild for parent in parents for grandchild in parent.children(recursive=True)]


def find_core(processes: list[psutil.Process]) -> psutil.Process:
    """The process that stands in for vLLM's own. A resource tracker of Python may be beside it."""
    (core,) = (process for process in processes if any("spawn_main" in part for part in process.cmdline()))
    return core


def test_a_job_is_served_and_unloading_ends_the_whole_group(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    begin_job(host, tmp_path)

    reports = receive_until(host, messages.JobDecoded, messages.JobFailed)

    phases = [report.phase for report in reports if isinstance(report, messages.LoadPhaseBegun)]
    texts = [segment.text for finished in find_windows(reports) for segment in finished.segments]
    assert phases == ["importing libraries", "finding weights", "starting vLLM"]
    assert set(texts) == {"As clear as day, and so on to the very end."}
    assert host.device == "cuda:0"
    processes = family()
    assert find_core(processes).is_running()
    assert {os.getpgid(process.pid) for process in processes} == {processes[0].pid}
    host.unload()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_a_job_is_stopped_between_two_tokens(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(step_s=0.1)
    run = begin_job(host, tmp_path)
    receive_until(host, messages.PartialDecoded)

    host.stop_job(run)

    assert isinstance(receive_until(host, messages.JobStopped, messages.JobDecoded)[-1], messages.JobStopped)


def test_a_dead_engine_core_ends_the_process_and_all_that_is_left_of_it(
    make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host(lives_for_steps=12)
    begin_job(host, tmp_path)
    receive_until(host, messages.Loaded)
    processes = family()

    with pytest.raises(ModelProcessDied, match=str(ENGINE_LOST_EXIT_CODE)):
        receive_until(host, messages.JobDecoded, messages.JobFailed)

    wait_for(lambda: not family(), what="the end of the group")
    assert len(processes) > 1


def test_a_killed_engine_core_ends_the_process_that_waits_for_its_tokens(
    make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host(step_s=0.1)
    begin_job(host, tmp_path)
    receive_until(host, messages.PartialDecoded)

    find_core(family()).kill()

    with pytest.raises(ModelProcessDied, match=str(ENGINE_LOST_EXIT_CODE)):
        receive_until(host, messages.JobDecoded, messages.JobFailed)
    wait_for(lambda: not family(), what="the end of the group")
