"""`qwen3-asr` explains its commands, rejects unknown ones, and needs no packages for its first stage."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.__main__ import main
from cli.up import bootstrap
from scripts.purposes import PURPOSES, REPOSITORY
from scripts.virtual_environment import VirtualEnvironment


def print_help(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the command line prints with `--help`, which ends it with 0."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert "up " in print_help(capsys=capsys)


def test_help_of_up_names_options_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    printed = print_help("up", capsys=capsys)

    for word in ("--no-setup", "--torch-index", "PORT=8100", "ENGINE=auto", "DATA_DIR=data"):
        assert word in printed


@pytest.mark.parametrize("arguments", [[], ["down"], ["up", "--fast"], ["--fast"]])
def test_an_unknown_command_or_option_is_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2


def test_the_first_stage_imports_nothing_that_is_installed() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import cli.__main__, scripts.setup_venv; "
        "ours = {'__main__', 'cli', 'scripts', 'shared'}; "
        "print({name.partition('.')[0] for name in sys.modules} - ours - sys.stdlib_module_names)"
    )
    # -I and -S keep all installed packages off the import path.
    stage = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )

    assert stage.stdout == "set()\n"


@pytest.fixture
def entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that the first stage becomes, in a checkout at `tmp_path` that is always ready."""
    commands: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    monkeypatch.setattr("scripts.setup_venv.make_ready", lambda *_: 0)
    monkeypatch.setattr("os.execv", lambda _, command: commands.append(command))
    monkeypatch.setenv("ENGINE", "whisper")
    return commands


def test_the_server_runs_in_the_environment_of_the_engine(entered: list[list[str]], tmp_path: Path) -> None:
    assert bootstrap.enter_environment("") == 0

    assert entered == [[str(tmp_path / ".venv" / "bin" / "qwen3-asr"), "up", "--no-setup"]]


def test_the_environment_of_the_engine_is_not_entered_twice(
    entered: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(VirtualEnvironment(tmp_path / PURPOSES["base"].venv).folder))

    assert bootstrap.enter_environment("") == 0

    assert entered == []


def test_a_failed_setup_is_the_exit_code(entered: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.setup_venv.make_ready", lambda *_: 1)

    assert bootstrap.enter_environment("") == 1
    assert entered == []


def test_an_installed_package_is_not_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bootstrap.is_checkout()

    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)

    assert not bootstrap.is_checkout()
