"""OpenAI's client for Node is installed once from its lock, and skipped if that is not possible."""

from pathlib import Path

import pytest

from scripts import setup_node


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all programs on PATH; the client is installed into another folder."""
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(setup_node, "REPOSITORY", tmp_path)
    monkeypatch.setattr(setup_node, "FOLDER", tmp_path / "client")
    monkeypatch.setattr(setup_node, "STAMP", tmp_path / "client" / "stamp")
    monkeypatch.setattr(setup_node, "LOCKED", (tmp_path / "package.json", tmp_path / "package-lock.json"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def write_program(folder: Path, name: str, *lines: str) -> None:
    """Write an executable shell script."""
    program = folder / name
    program.write_text("\n".join(("#!/bin/sh", *lines)))
    program.chmod(0o755)


def count_installations(folder: Path) -> int:
    """Return how often the stand-in npm was run."""
    calls = folder / "calls"
    return len(calls.read_text().splitlines()) if calls.exists() else 0


def write_npm(programs: Path, *, exit_code: int) -> None:
    """Write a node that does nothing, and an npm that records its calls."""
    write_program(programs, "node")
    write_program(programs, "npm", f'echo "$PWD $@" >> {programs}/calls', "echo words", f"exit {exit_code}")


def test_the_lock_is_installed_once(programs: Path) -> None:
    write_npm(programs, exit_code=0)

    assert (setup_node.main(), setup_node.main()) == (0, 0)

    assert count_installations(programs) == 1
    where, _, how = (programs / "calls").read_text().partition(" ")
    assert setup_node.FOLDER.samefile(where)
    assert how.startswith("ci ")


def test_a_changed_lock_is_installed_again(programs: Path) -> None:
    write_npm(programs, exit_code=0)
    setup_node.main()
    setup_node.LOCKED[1].write_text('{"another": 1}')

    setup_node.main()

    assert count_installations(programs) == 2


def test_a_failed_installation_is_reported_and_tried_again_next_time(
    programs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_npm(programs, exit_code=1)

    assert (setup_node.main(), setup_node.main()) == (0, 0)

    assert "is not available, its tests are skipped\nwords\n" in capfd.readouterr().out
    assert not setup_node.is_ready()
    assert count_installations(programs) == 2


def test_without_node_there_is_one_line(programs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert setup_node.main() == 0

    said = capfd.readouterr().out.splitlines()
    assert len(said) == 1
    assert "node and npm are not installed" in said[0]
