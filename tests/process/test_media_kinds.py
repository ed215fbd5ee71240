"""A sandboxed decoder answers for every container, encoding and kind of track that PyAV has."""

import subprocess
import sys
from pathlib import Path

import av

from shared.errors import UnreadableAudio
from tests.process.media_driver import make_service
from tests.support.media_kinds import make_kinds
from tests.support.probing import probe

CREATE_ALL = """
import sys
from shared.media import fork_server, messages, sandboxed_decoder

from av.codec import Codec, CodecContext, codecs_available
from av.format import ContainerFormat, formats_available

fork_server._warm_up()
sys.stderr = sys.stdout
loaded = set(sys.modules)
sandboxed_decoder.prepare(messages.MediaLimits(60, 1 << 30, 60))
sandboxed_decoder.close_off((1, 2), cpu_s=60, timeout_s=60)
for name in codecs_available:
    try:
        codec = Codec(name, "r")
    except ValueError:
        continue
    CodecContext.create(codec)
for name in formats_available:
    ContainerFormat(name)
print(*sorted(set(sys.modules) - loaded))
"""


def test_the_sandbox_lets_pyav_create_every_decoder() -> None:
    command = [sys.executable, "-c", CREATE_ALL]
    created = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert (created.returncode, created.stdout) == (0, "\n")


def test_the_sandbox_answers_for_every_kind_of_file(tmp_path: Path) -> None:
    av.logging.set_level(None)
    upload = tmp_path / "upload"
    refused: dict[str, str] = {}
    names: set[str] = set()
    with make_service() as service:
        for name, content in make_kinds():
            names.add(name)
            upload.write_bytes(content)
            try:
                assert probe(service, upload) > 0, name
            except UnreadableAudio as error:
                refused[name] = error.message
    assert {name: message for name, message in refused.items() if "gave up" in message} == {}
    assert {name for name in refused if "subtitles" in name or "all tracks" in name} == set()
    usual = {"matroska", "mp4", "mov", "webm", "mpegts", "wav", "ogg", "mp3", "flac"}
    assert usual <= {name.rpartition(" in ")[2] for name in names - set(refused)}
