"""A decoder of untrusted media can reach nothing but that file and its answer."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import UnreadableAudio
from shared.media.samples import read_pcm
from tests.process.media_driver import fork_server, make_service, serving_decoder, start_decoding
from tests.support.media_files import CLIPS, repeat_clip
from tests.support.probing import probe

SANDBOXED = """
import os, socket, sys
from shared.media.messages import MediaLimits
from shared.media.sandboxed_decoder import close_off, prepare

written = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
opened_before = os.open("/etc/hosts", os.O_RDONLY)
prepare(MediaLimits(60, 100_000_000, 5))
close_off((1, 2, written), cpu_s=5, timeout_s=60)
attempts = {
    "read a file": lambda: os.open("/etc/hosts", os.O_RDONLY),
    "read what was open": lambda: os.read(opened_before, 1),
    "write a file": lambda: os.write(written, b"x"),
    "connect": lambda: socket.socket(),
    "open a pipe": lambda: os.pipe(),
    "take memory": lambda: bytearray(200_000_000),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except (OSError, MemoryError):
        continue
    print(name, flush=True)
"""


def test_a_sandboxed_process_can_reach_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SANDBOXED, str(tmp_path / "written")]
    sandboxed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    allowed = sandboxed.stdout.split("\n")[:-1]
    assert allowed == ([] if sys.platform == "linux" else ["take memory"])
    assert (tmp_path / "written").read_bytes() == b""


def test_a_decoder_holds_open_only_its_own_files(tmp_path: Path) -> None:
    upload = repeat_clip("speech.mp3", tmp_path / "upload", times=60)
    with make_service() as service, start_decoding(service, upload) as reading:
        next(read_pcm(reading))  # by then it is in its sandbox
        decoder = serving_decoder(service)
        assert [Path(file.path) for file in decoder.open_files()] == [upload]
        assert decoder.num_fds() == 4  # the upload, the pipe, the log, /dev/null


def test_the_fork_server_gets_none_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "secret")
    with make_service() as service:
        assert "API_KEYS" not in fork_server(service).environ()


@pytest.mark.parametrize(
    "playlist",
    ["#EXTM3U\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"],
    ids=["HLS", "ffconcat"],
)
def test_an_upload_cannot_name_another_file_to_be_read(tmp_path: Path, playlist: str) -> None:
    upload = tmp_path / "upload"
    upload.write_text(playlist.format(CLIPS / "speech.aac"))
    with make_service() as service, pytest.raises(UnreadableAudio):
        probe(service, upload)


LAZY_MODULES = """
import sys
from pathlib import Path

from shared.media import fork_server

fork_server._warm_up()
packages = Path(sys.modules["av"].__file__).parents[1]
modules = {
    ".".join((*path.relative_to(packages).parent.parts, path.name.partition(".")[0]))
    for path in packages.glob("av/**/*.so")
}
assert "av.container.input" in modules
print(*sorted(modules - set(sys.modules)))
"""


def test_the_fork_server_has_loaded_all_of_pyav_before_any_upload() -> None:
    missing = subprocess.run(
        [sys.executable, "-c", LAZY_MODULES], stdout=subprocess.PIPE, check=True, text=True
    )
    assert missing.stdout == "\n", "the sandbox forbids their import: add them to ffmpeg_sound.py"


def test_using_the_service_loads_no_decoder_into_the_process_that_uses_it() -> None:
    code = (
        "import sys, shared.media.client;print(*({'av', 'soundfile', 'numpy', 'torch'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    assert loaded.stdout.strip() == ""


def test_the_fork_server_has_one_thread() -> None:
    with make_service() as service:
        assert fork_server(service).num_threads() == 1
