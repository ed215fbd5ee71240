"""The small disk of a chaos run is made full although it fills while it is shrunk."""

import subprocess
from pathlib import Path

import pytest

from tests.chaos.disk import SPARE_BYTES, SmallDisk


def refuse_first(times: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the kernel refuse so many remounts, as it does below what is in use; returns what was asked for."""
    asked: list[str] = []

    def run(command: list[str], **_: object) -> None:
        asked.append(command[2])
        if len(asked) <= times:
            raise subprocess.CalledProcessError(32, command)

    monkeypatch.setattr("tests.chaos.disk._measure", lambda _folder: (1 << 30, 1 << 20))
    monkeypatch.setattr("tests.chaos.disk.subprocess.run", run)
    return asked


def test_a_disk_that_fills_meanwhile_is_shrunk_to_a_little_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refuse_first(2, monkeypatch)
    SmallDisk(tmp_path).fill()
    assert asked == [f"remount,size={(1 << 20) + spare * SPARE_BYTES}" for spare in (1, 2, 4)]


def test_a_disk_that_cannot_be_shrunk_at_all_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_first(1_000, monkeypatch)
    with pytest.raises(RuntimeError, match="could not be shrunk"):
        SmallDisk(tmp_path).fill()
