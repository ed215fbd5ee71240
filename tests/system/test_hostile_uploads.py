"""A hostile upload gets a clear refusal, a failure code or a transcript, and the server keeps serving."""

import json
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.endpoints import URL
from tests.support.hostile_files import ODD, REFUSED, SERVED, clip, playlists, shorten_m4a
from tests.support.patience import PATIENT_WITH_ENGINES
from tests.support.sandboxed_decoders import find_decoder_of, find_preforked_decoders
from tests.support.server import RealServer, wait_for

CODES = {"audio_undecodable", "audio_too_long", "audio_too_short"}
TONES = make_tones(2, seed=3)
INTERACTIVE_MAX_AUDIO_S = 120
FINAL = {"succeeded", "failed", "cancelled"}


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    """Provide a server for uploads of up to ten minutes and 8 MiB."""
    with tempfile.TemporaryDirectory(prefix="qasr-") as folder:
        limits = {"MAX_AUDIO_S": "600", "MAX_UPLOAD_BYTES": str(8 << 20), "PROBE_TIMEOUT_S": "20"}
        with RealServer(
            Path(folder), DECODER_CPU_S="20", IDLE_TIMEOUT="0", **limits, **PATIENT_WITH_ENGINES
        ) as server:
            server.start()
            assert_serves(server)
            # The worker starts its fork server with the first audio that it decodes.
            long_audio = write_wav(make_tones(INTERACTIVE_MAX_AUDIO_S + 1))
            wait_for_end(server, send(server, long_audio).headers["location"])
            yield server


@pytest.fixture(autouse=True)
def unharmed(server: RealServer) -> Iterator[None]:
    """Check that each test leaves the same processes, which serve, and no unfinished upload."""
    before = lasting_processes(server)
    yield
    assert_serves(server)
    wait_for_the_same(before, lambda: lasting_processes(server))
    assert not list((server.folder / "uploads").glob("*.part"))
    assert "Traceback" not in server.log_text()


def lasting_processes(server: RealServer) -> set[psutil.Process]:
    """Return api, worker and all their descendants, without pre-forked decoders."""
    roots = [psutil.Process(server.api.pid), psutil.Process(server.worker.pid)]
    found = {*roots, *(child for root in roots for child in root.children(recursive=True))}
    return found - {spare for process in found for spare in find_preforked_decoders(process)}


def wait_for_the_same(before: set[psutil.Process], look: Callable[[], set[psutil.Process]]) -> None:
    """Wait until the processes are those of `before` again. Fail with the difference."""
    try:
        wait_for(lambda: look() == before, within_s=10)
    except AssertionError:
        after = look()
        assert (before - after, after - before) == (set(), set())


def assert_serves(server: RealServer) -> None:
    answer = server.client.post(URL, files={"file": write_wav(TONES)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == spoken_text(TONES)


def send(server: RealServer, content: bytes, *, filename: str = "a.wav") -> httpx.Response:
    return server.client.post("/v1/jobs", files={"file": (filename, content)})


def wait_for_end(server: RealServer, location: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = server.client.get(location).json()
        return job if job["state"] in FINAL else None

    return wait_for(look, within_s=60, what="the end of the job")


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] in CODES
    assert error["param"] == "file"
    assert error["message"]


def assert_job_ends_in_order(job: dict[str, Any]) -> None:
    if job["state"] == "failed":
        assert job["error"]["code"] in CODES, job["error"]
    else:
        assert job["state"] == "succeeded"


@pytest.mark.parametrize("name", REFUSED)
def test_unreadable_uploads_are_refused_with_a_code(server: RealServer, name: str) -> None:
    assert_refused(send(server, REFUSED[name]()))


@pytest.mark.parametrize("name", SERVED)
def test_readable_uploads_are_transcribed_despite_their_headers(server: RealServer, name: str) -> None:
    answer = send(server, SERVED[name]())
    assert answer.status_code == 202, answer.text
    job = wait_for_end(server, answer.headers["location"])
    assert job["state"] == "succeeded", job["error"]


@pytest.mark.parametrize("name", ODD)
def test_odd_uploads_are_refused_or_end_in_order(server: RealServer, name: str) -> None:
    answer = send(server, ODD[name]())
    if answer.status_code != 202:
        assert_refused(answer)
    else:
        assert_job_ends_in_order(wait_for_end(server, answer.headers["location"]))


@pytest.mark.parametrize(
    ("name", "duration_s"),
    [("minutes of flac that tell a second", 200), ("an ogg chained 5 times", 20.6), ("half a flac", 2.06)],
)
def test_a_job_is_as_long_as_its_sound_despite_its_header(
    server: RealServer, name: str, duration_s: float
) -> None:
    form = {"priority": "interactive"}
    answer = server.client.post("/v1/jobs", files={"file": SERVED[name]()}, data=form)
    job = wait_for_end(server, answer.headers["location"])
    assert job["state"] == "succeeded"
    assert job["progress"]["duration_s"] == pytest.approx(duration_s, abs=0.5)
    assert job["priority"] == ("batch" if duration_s > INTERACTIVE_MAX_AUDIO_S else "interactive")


def test_a_hidden_hour_is_refused_at_once(server: RealServer) -> None:
    answer = send(server, REFUSED["an hour of flac that tells a second"]())
    assert answer.json()["error"]["code"] == "audio_too_long"


def test_a_job_with_false_packet_durations_ends_soon_after_the_declared_end(
    server: RealServer,
) -> None:
    form = {"priority": "interactive"}
    answer = server.client.post("/v1/jobs", files={"file": shorten_m4a(300)}, data=form)
    assert answer.status_code == 202, answer.text
    job = wait_for_end(server, answer.headers["location"])
    assert job["error"]["code"] == "audio_too_long"
    assert "declare" in job["error"]["message"]
    assert job["progress"]["processed_s"] < 3


@pytest.mark.parametrize("kind", playlists(url="", path=""))
def test_no_upload_makes_the_server_open_another_file_or_address(server: RealServer, kind: str) -> None:
    canary = server.folder / "canary.wav"
    canary.write_bytes(clip("speech.wav"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/canary.wav"
        content = playlists(url=url, path=str(canary))[kind]
        for filename in ("a.wav", f"a.{kind.partition(' ')[0]}", str(canary), url, f"concat:{canary}"):
            assert_refused(send(server, content, filename=filename))
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_name_that_is_a_path_writes_nowhere_else(server: RealServer) -> None:
    answer = send(server, write_wav(TONES), filename="../../../../escaped.wav")
    assert answer.status_code == 202
    wait_for_end(server, answer.headers["location"])
    assert not list(server.folder.parent.glob("*escaped*"))
    assert not list(server.folder.rglob("*escaped*"))


def test_an_upload_without_an_end_is_refused_at_the_limit(server: RealServer) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        while True:
            yield bytes(1 << 20)

    headers = {"content-type": "multipart/form-data; boundary=x-y"}
    try:
        answer = server.client.post("/v1/jobs", content=endless(), headers=headers)
    except httpx.TransportError:
        pass  # it was hung up on while it went on sending
    else:
        assert answer.status_code == 413
    assert list((server.folder / "uploads").glob("*.part")) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_decoder_that_crashes_costs_one_job(server: RealServer, how: signal.Signals) -> None:
    minutes = clip("speech.mp3") * 60  # more than the pipe takes, so that the decoder waits for the engine
    form = {"prompt": json.dumps({"speed": 30})}
    answer = server.client.post("/v1/jobs", files={"file": minutes}, data=form)
    wait_for(lambda: find_decoder_of(server.worker.pid), within_s=20, what="the decoder").send_signal(how)
    job = wait_for_end(server, answer.headers["location"])
    assert job["state"] == "failed"
    assert job["error"]["code"] == "audio_undecodable"
    assert "gave up" in job["error"]["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="macOS cannot limit a process that runs")
def test_a_full_disk_is_reported_at_once_and_nothing_is_left(server: RealServer) -> None:
    uploads = server.folder / "uploads"
    before = set(uploads.iterdir())
    content = write_wav(make_tones(60))
    *_, most = unlimited = resource.prlimit(server.api.pid, resource.RLIMIT_FSIZE)
    # As on a disk that is full: the log is shorter, the upload is longer.
    resource.prlimit(server.api.pid, resource.RLIMIT_FSIZE, (1 << 20, most))
    try:
        for url in (URL, "/v1/jobs"):
            answer = server.client.post(url, files={"file": content})
            assert answer.status_code == 507
            assert answer.json()["error"]["code"] == "storage_full"
            assert set(uploads.iterdir()) == before
    finally:
        resource.prlimit(server.api.pid, resource.RLIMIT_FSIZE, unlimited)
    answer = send(server, content)
    assert answer.status_code == 202
    wait_for_end(server, answer.headers["location"])  # or its decoder would still be there for the next test


def test_deleting_a_running_job_deletes_its_audio(server: RealServer) -> None:
    form = {"prompt": json.dumps({"speed": 2})}
    answer = server.client.post("/v1/jobs", files={"file": write_wav(make_tones(60))}, data=form)
    location, stored = answer.headers["location"], server.folder / "uploads" / answer.json()["id"]
    # An engine that waits for its first audio hears no stop, and would lose its process.
    with server.client.stream("GET", f"{location}/events") as events:
        assert "event: partial" in events.iter_lines()
    assert stored.exists()
    assert server.client.delete(location).status_code == 202
    wait_for(lambda: not stored.exists(), within_s=5, what="the end of the audio")
    assert server.client.get(location).json()["state"] == "cancelled"


@pytest.mark.full
def test_two_gigabytes_of_zeros_are_refused_in_little_memory(make_server: Callable[..., RealServer]) -> None:
    server = make_server().start()
    api = psutil.Process(server.api.pid)
    resting_bytes = api.memory_info().rss
    peaks = []

    def zeros() -> Iterator[bytes]:
        yield b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(1_900):
            yield bytes(1 << 20)
            peaks.append(api.memory_info().rss)
        yield b"\r\n--x-y--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x-y"}
    assert_refused(server.client.post("/v1/jobs", content=zeros(), headers=headers))
    assert max(peaks) < resting_bytes + 50_000_000
    assert not list((server.folder / "uploads").iterdir())
    assert_serves(server)
