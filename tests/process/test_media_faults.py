"""A decoder or fork server that dies, hangs or exceeds a limit costs one upload one error."""

import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from shared.errors import MediaServiceDown, UnreadableAudio
from shared.jobs import FailureCode
from shared.media import server_process
from shared.media.client import MediaService
from shared.media.pcm_frames import DecodingFailed
from shared.media.samples import read_pcm
from tests.process.media_driver import (
    PATIENCE_S,
    decode,
    fork_server,
    make_service,
    serving_decoder,
    start_decoding,
    wait_until,
)
from tests.support.media_files import CLIPS, SPEECH_SAMPLES, only_samples, repeat_clip
from tests.support.probing import probe
from tests.support.sandboxed_decoders import find_preforked_decoders, find_serving_decoders


@pytest.fixture
def service() -> Iterator[MediaService]:
    """Provide a running service."""
    with make_service() as running:
        yield running


@pytest.fixture
def minutes_of_speech(tmp_path: Path) -> Path:
    """Return a file with more sound than a pipe holds, so that its decoder lives until a reader comes."""
    return repeat_clip("speech.mp3", tmp_path / "minutes.mp3", times=60)


def write_slow_bomb(path: Path) -> Path:
    """Write a WAV file of one sample per second. Resampled, its 10 MB become 320 GB."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(1)
        file.writeframes(bytes(range(100, 150)) * 200_000)
    return path


def write_wide_bomb(path: Path) -> Path:
    """Write a WAV file of a thousand channels. Each block of its samples takes tens of megabytes."""
    soundfile.write(path, np.zeros((10_000, 1_000)), 16_000, subtype="PCM_U8")
    return path


def assert_serves(service: MediaService) -> None:
    """Check that the service probes and decodes."""
    assert probe(service, CLIPS / "speech.m4a") == pytest.approx(4.115, abs=0.15)
    assert len(decode(service, CLIPS / "speech.wav")) == SPEECH_SAMPLES


def test_a_decoder_killed_in_the_middle_is_an_error_at_the_reader(
    service: MediaService, minutes_of_speech: Path
) -> None:
    with start_decoding(service, minutes_of_speech) as reading:
        serving_decoder(service).kill()
        with pytest.raises(DecodingFailed, match="gave up") as caught:
            list(read_pcm(reading))
    assert caught.value.code is FailureCode.AUDIO_UNDECODABLE
    assert_serves(service)


def test_a_probe_that_crashes_is_an_upload_the_decoder_gave_up_on(
    service: MediaService, tmp_path: Path
) -> None:
    unseekable = tmp_path / "pipe"
    os.mkfifo(unseekable)
    writing = os.open(unseekable, os.O_RDWR)
    with pytest.raises(UnreadableAudio, match="gave up"):
        probe(service, unseekable)
    os.close(writing)
    assert_serves(service)


def test_a_probe_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with make_service(probe_timeout_s=0.0001) as hasty:
        with pytest.raises(UnreadableAudio, match="PROBE_TIMEOUT_S"):
            probe(hasty, CLIPS / "speech.aac")
        wait_until(lambda: not find_serving_decoders(fork_server(hasty)))
        assert len(decode(hasty, CLIPS / "speech.wav")) == SPEECH_SAMPLES


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep memory limits")
def test_a_decoder_that_wants_too_much_memory_costs_one_error(tmp_path: Path) -> None:
    bomb = write_wide_bomb(tmp_path / "bomb.wav")
    with make_service(memory_bytes=8_000_000) as frugal:
        server = fork_server(frugal)
        with pytest.raises(UnreadableAudio, match="DECODER_MEMORY_BYTES"):
            probe(frugal, bomb)
        with pytest.raises(DecodingFailed, match="DECODER_MEMORY_BYTES") as caught:
            decode(frugal, bomb)
        assert caught.value.code is FailureCode.AUDIO_UNDECODABLE
        assert_serves(frugal)
        assert fork_server(frugal) == server


def test_a_decoder_that_wants_too_much_time_costs_one_error(tmp_path: Path) -> None:
    bomb = write_slow_bomb(tmp_path / "bomb.wav")
    with make_service(max_audio_s=1e9, cpu_s=1.0) as frugal, start_decoding(frugal, bomb) as reading:
        with pytest.raises(DecodingFailed, match="DECODER_CPU_S") as caught:
            for _ in read_pcm(reading):
                pass
        assert caught.value.code is FailureCode.AUDIO_UNDECODABLE
        assert_serves(frugal)


def test_a_decoder_without_a_reader_ends(service: MediaService, minutes_of_speech: Path) -> None:
    with start_decoding(service, minutes_of_speech):
        child = serving_decoder(service)
    wait_until(lambda: not child.is_running())
    assert_serves(service)


def test_a_killed_fork_server_is_replaced(service: MediaService) -> None:
    killed = fork_server(service)
    killed.kill()
    assert_serves(service)
    assert fork_server(service) != killed


def test_running_decoders_survive_the_fork_server(service: MediaService, minutes_of_speech: Path) -> None:
    with start_decoding(service, minutes_of_speech) as reading:
        fork_server(service).kill()
        assert sum(len(block) for block in only_samples(read_pcm(reading))) > 50 * SPEECH_SAMPLES


def test_a_preforked_decoder_that_died_costs_nothing(service: MediaService) -> None:
    server = fork_server(service)
    for _ in range(3):
        wait_until(lambda: bool(server.children()))
        children = server.children()
        for child in children:  # earlier requests are answered: these are pre-forked, or about to end
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, PATIENCE_S)
        assert_serves(service)
    assert fork_server(service) == server


def test_a_preforked_decoder_ends_when_its_fork_server_is_killed(service: MediaService) -> None:
    server = fork_server(service)
    wait_until(lambda: bool(server.children()))
    (decoder,) = server.children()
    server.kill()
    wait_until(lambda: not decoder.is_running())


def test_a_preforked_decoder_serves_although_its_fork_server_hangs(service: MediaService) -> None:
    server, running = fork_server(service), service._server
    assert running is not None
    wait_until(lambda: running._channel.is_readable(0))  # the decoder was handed over
    server.suspend()
    assert probe(service, CLIPS / "speech.wav") == pytest.approx(4.115, abs=0.15)
    server.resume()
    assert_serves(service)
    assert fork_server(service) == server


def test_two_decoders_are_ready_after_the_first_upload(service: MediaService) -> None:
    server = fork_server(service)
    assert_serves(service)
    wait_until(lambda: len(find_preforked_decoders(server)) == 2)


def test_a_fork_server_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service()
    with monkeypatch.context() as patch:
        patch.setattr(server_process, "_FORK_TIMEOUT_S", 0.2)
        service.start()
    with service:
        hanging = fork_server(service)
        hanging.suspend()
        assert_serves(service)
        assert not hanging.is_running()


def test_a_fork_server_that_cannot_be_started_is_a_service_that_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = make_service()
    with service:
        monkeypatch.setattr(server_process, "_COMMAND", (sys.executable, "-c", "exit(1)"))
        fork_server(service).kill()
        with pytest.raises(MediaServiceDown):
            probe(service, CLIPS / "speech.wav")
        monkeypatch.undo()
        assert_serves(service)


def test_an_open_service_starts_its_fork_server_at_the_first_call() -> None:
    service = make_service()
    service.open()
    assert service._server is None
    try:
        assert_serves(service)
        assert fork_server(service).is_running()
    finally:
        service.stop()


def test_a_stopped_service_is_down_until_it_is_started_again(minutes_of_speech: Path) -> None:
    service = make_service()
    with service, start_decoding(service, minutes_of_speech):
        processes = [fork_server(service), serving_decoder(service)]
        service.stop()
        wait_until(lambda: not any(process.is_running() for process in processes))
        with pytest.raises(MediaServiceDown):
            probe(service, CLIPS / "speech.wav")
        service.start()
        assert_serves(service)


def test_ctrl_c_in_the_terminal_does_not_reach_the_fork_server(service: MediaService) -> None:
    server = fork_server(service)
    assert os.getsid(server.pid) == os.getpgid(server.pid) == server.pid
    server.send_signal(signal.SIGINT)
    assert_serves(service)
    assert fork_server(service) == server


PARENT = """
import os, sys, psutil
from pathlib import Path
from shared.logs import configure_logging
from shared.media.client import MediaService
from shared.media.messages import MediaLimits

configure_logging("INFO")
service = MediaService(MediaLimits(7200, 1 << 30, 60), probe_timeout_s=60)
service.start()
reading, writing = os.pipe()
service.decode_into(Path(sys.argv[1]), writing)
print(*(process.pid for process in psutil.Process().children(recursive=True)), flush=True)
sys.stdin.read()
"""


def test_the_fork_server_and_its_decoders_end_when_their_parent_is_killed(minutes_of_speech: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(minutes_of_speech)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        processes = [psutil.Process(pid) for pid in pids]
        parent.kill()
    assert len(processes) >= 2  # and perhaps a pre-forked decoder
    _, alive = psutil.wait_procs(processes, PATIENCE_S)
    assert not alive


def test_many_uploads_are_examined_at_once(service: MediaService) -> None:
    clips = [CLIPS / f"speech.{suffix}" for suffix in ("wav", "mp3", "opus", "m4a", "aac", "webm")] * 10
    server = fork_server(service)
    with ThreadPoolExecutor(12) as threads:
        durations_s = list(threads.map(partial(probe, service), clips))
    assert durations_s == pytest.approx([4.115] * len(clips), abs=0.15)
    wait_until(lambda: not find_serving_decoders(server))
    assert fork_server(service) == server


def test_the_memory_of_a_decoder_does_not_grow_with_the_file(service: MediaService, tmp_path: Path) -> None:
    half_an_hour = repeat_clip("speech.mp3", tmp_path / "long.mp3", times=450)
    rss_bytes = []
    with start_decoding(service, half_an_hour) as reading:
        child = serving_decoder(service)
        for number, _ in enumerate(read_pcm(reading)):
            if number in (60, 1_740):  # seconds; the pipe and the pending block hold less than four
                rss_bytes.append(child.memory_info().rss)
    assert number > 1_790
    assert rss_bytes[1] < rss_bytes[0] + 8_000_000 < 150_000_000
