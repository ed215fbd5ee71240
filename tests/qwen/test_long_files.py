"""However long a file is, the memory that it takes does not grow."""

import sys
from pathlib import Path

import pytest

from tests.support.endpoints import read_success
from tests.support.long_files import MemoryWatch, write_sparse_file
from tests.support.qwen_server import open_qwen_server
from tests.support.server import RealServer
from tests.support.tiny_qwen3 import SAMPLES

REMARK = "en_hello"
SHORT_MIN = 20
# Each hour of audio is 115 MB in its smallest form; a process that has worked for longer has its memory in
# more pieces (measured: 20 MB after one hour, 30 MB after ten).
MAX_GROWTH_BYTES = 64e6


def transcribe_file(server: RealServer, path: Path) -> str:
    """The text of a file by way of a job."""
    with path.open("rb") as file:
        answer = server.client.post("/v1/jobs", files={"file": file})
    assert answer.status_code == 202, answer.text
    return str(read_success(server, answer.headers["location"], within_s=1_200)["transcript"]["text"])


def measure(server: RealServer, folder: Path, minutes: int) -> dict[str, int]:
    """The peaks of memory, by process, while a file of so many minutes is transcribed."""
    path = write_sparse_file(folder / f"{minutes}.flac", SAMPLES[REMARK].read(), minutes=minutes)
    with MemoryWatch(server).watching() as watch:
        text = transcribe_file(server, path)
    assert text == " ".join([SAMPLES[REMARK].text] * ((minutes + 9) // 10))
    return watch.peaks


@pytest.mark.full
@pytest.mark.parametrize("hours", [1, pytest.param(10, marks=pytest.mark.timeout(1_800))])
def test_hours_of_audio_take_no_more_memory_than_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hours: int
) -> None:
    with open_qwen_server(IDLE_TIMEOUT="0") as server:
        short = measure(server, tmp_path, SHORT_MIN)
        long = measure(server, tmp_path, 60 * hours)

    with capsys.disabled():
        listing = ", ".join(f"{role} {short[role] / 1e6:.0f} -> {long[role] / 1e6:.0f} MB" for role in short)
        sys.stdout.write(f"\npeak memory, {SHORT_MIN} min -> {hours} h: {listing}\n")
    assert short.keys() == long.keys() == {"worker", "model", "decoder"}
    for role, size_bytes in short.items():
        assert long[role] < size_bytes + MAX_GROWTH_BYTES, role
