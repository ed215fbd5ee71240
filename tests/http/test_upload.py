"""Uploads over real HTTP: streamed to disk, counted while they arrive, and deleted if refused."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.api_server import MAX_UPLOAD_BYTES
from tests.support.audio import make_tones, write_wav
from tests.support.media_files import CLIPS
from tests.support.scripted_worker import ScriptedWorker
from tests.support.server import wait_for

URL = "/v1/jobs"
AUDIO = write_wav(make_tones(2))
BOUNDARY = {"content-type": "multipart/form-data; boundary=x-y"}

pytestmark = pytest.mark.usefixtures("worker")


def chunked_form(file: Iterator[bytes]) -> Iterator[bytes]:
    yield b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    yield from file
    yield b"\r\n--x-y--\r\n"


def test_a_file_is_stored_once_with_its_digest(
    api: httpx.Client, uploads: Path, worker: ScriptedWorker
) -> None:
    job_id = api.post(URL, files={"file": ("a.wav", AUDIO)}).json()["id"]
    assert {path.name for path in uploads.iterdir()} == {job_id, f"{job_id}.pcm"}
    assert (uploads / job_id).read_bytes() == AUDIO
    assert worker.wait_for_claim().upload.sha256 == hashlib.sha256(AUDIO).hexdigest()


def test_a_body_without_a_length_is_accepted(api: httpx.Client, uploads: Path) -> None:
    pieces = (AUDIO[start : start + 1000] for start in range(0, len(AUDIO), 1000))
    answer = api.post(URL, content=chunked_form(pieces), headers=BOUNDARY)
    assert answer.status_code == 202
    assert (uploads / answer.json()["id"]).read_bytes() == AUDIO


def test_a_file_with_too_large_a_length_is_refused(api: httpx.Client, uploads: Path) -> None:
    answer = api.post(URL, files={"file": ("a.wav", bytes(20 * MAX_UPLOAD_BYTES))})
    assert answer.status_code == 413
    assert "MAX_UPLOAD_BYTES" in answer.json()["error"]["message"]
    assert list(uploads.iterdir()) == []


def test_a_large_file_without_a_length_is_refused(api: httpx.Client, uploads: Path) -> None:
    endless = (bytes(1 << 20) for _ in range(50))
    answer = api.post(URL, content=chunked_form(endless), headers=BOUNDARY)
    assert answer.status_code == 413
    assert answer.json()["error"]["param"] == "file"
    assert list(uploads.iterdir()) == []


def test_a_file_of_one_byte_too_many_is_refused(api: httpx.Client, uploads: Path) -> None:
    answer = api.post(URL, files={"file": ("a.wav", bytes(MAX_UPLOAD_BYTES + 1))})
    assert answer.status_code == 413
    assert list(uploads.iterdir()) == []


def test_a_connection_survives_a_refusal(api: httpx.Client) -> None:
    assert api.post(URL, files={"file": ("a.wav", bytes(5 * MAX_UPLOAD_BYTES))}).status_code == 413
    assert api.post(URL, files={"file": ("a.wav", AUDIO)}).status_code == 202


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no audio at all" * 100, "not readable audio"),
        (write_wav(make_tones(0)), ""),
        (b"", "empty"),
    ],
    ids=["text", "no samples", "no bytes"],
)
def test_a_file_without_sound_is_refused(api: httpx.Client, uploads: Path, body: bytes, message: str) -> None:
    answer = api.post(URL, files={"file": ("a.wav", body)})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"
    assert message in answer.json()["error"]["message"]
    assert list(uploads.iterdir()) == []


def test_a_file_sent_as_text_and_a_body_without_a_form_are_refused(api: httpx.Client) -> None:
    for answer in (
        api.post(URL, data={"file": "a.wav"}),
        api.post(URL, files={"file": (None, "a.wav")}),
        api.post(URL, content=AUDIO, headers={"content-type": "audio/wav"}),
        api.post(URL, json={"file": "a.wav"}),
        api.post(URL),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "file"
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_other_media_after_the_sound_are_warned_of(api: httpx.Client) -> None:
    flac = (CLIPS / "speech.flac").read_bytes()
    answer = api.post("/v1/audio/transcriptions", files={"file": ("a.wav", AUDIO + flac)})
    assert [warning["code"] for warning in answer.json()["warnings"]] == ["trailing_data"]
    assert answer.headers["X-Transcript-Warnings"] == "1"


def test_a_form_without_a_boundary_is_named_as_such(api: httpx.Client) -> None:
    form = b"".join(chunked_form(iter([AUDIO])))
    answer = api.post(URL, content=form, headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 400
    assert "no boundary" in answer.json()["error"]["message"]


@pytest.mark.parametrize("url", [URL, "/v1/audio/transcriptions"])
@pytest.mark.parametrize("audio_track", ["2", "fr", "0", "no such language"])
def test_a_sound_track_that_does_not_exist_is_refused(api: httpx.Client, url: str, audio_track: str) -> None:
    answer = api.post(url, files={"file": ("a.wav", AUDIO)}, data={"audio_track": audio_track})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "audio_track"


@pytest.mark.parametrize(("audio_track", "known"), [("1", ("1",)), ("", ()), ("auto", ())], ids=str)
def test_the_worker_reads_the_track_that_was_examined(
    api: httpx.Client, worker: ScriptedWorker, audio_track: str, known: tuple[str, ...]
) -> None:
    answer = api.post(URL, files={"file": ("a.wav", AUDIO)}, data={"audio_track": audio_track})
    assert answer.status_code == 202
    assert worker.wait_for_claim().request.audio_track == known


def test_a_disconnect_during_an_upload_leaves_no_file(api: httpx.Client, uploads: Path) -> None:
    address = (api.base_url.host, api.base_url.port)
    assert address[1] is not None
    with socket.create_connection((address[0], address[1])) as client:
        client.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n")
        client.sendall(b"Content-Type: multipart/form-data; boundary=x-y\r\n\r\n")
        client.sendall(next(chunked_form(iter(()))) + bytes(2_500_000))
        wait_for(lambda: list(uploads.glob("*.part")))
    wait_for(lambda: not list(uploads.iterdir()))


def test_a_stalled_upload_is_refused_and_leaves_no_file(
    api: httpx.Client, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    monkeypatch.setattr("api.intake.form_body.STALL_S", 0.2)

    def pausing() -> Iterator[bytes]:
        yield AUDIO
        silent.wait(1)

    answer = api.post(URL, content=chunked_form(pausing()), headers=BOUNDARY)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "upload_stalled"
    assert list(uploads.iterdir()) == []


def test_a_full_disk_is_reported_and_leaves_no_file(
    api: httpx.Client, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shared.upload_store.os.write", write)
        answer = api.post(URL, files={"file": ("a.wav", AUDIO)})
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "storage_full"
    assert list(uploads.iterdir()) == []
