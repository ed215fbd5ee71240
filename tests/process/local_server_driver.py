"""Drives a local server in a pseudo-terminal, and looks for what it leaves behind."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pexpect
import psutil

from cli.up.descendants import is_alive

REPOSITORY = Path(__file__).parents[2]
STAND_INS = (sys.executable, str(Path(__file__).with_name("local_server_stand_ins.py")), "server")
PATIENCE_S = 60
LEFTOVERS_END_WITHIN_S = 10


class LocalServer:
    """A local server in a session and a terminal of its own; by default it is made of stand-ins."""

    def __init__(self, data_dir: Path, *, command: Sequence[str] = STAND_INS, **settings: str) -> None:
        self.data_dir = data_dir
        self.terminal = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=server_environment(data_dir, settings),
            cwd=str(REPOSITORY),
            encoding="utf-8",
            timeout=PATIENCE_S,
            dimensions=(50, 1000),
        )
        self.pid = int(self.terminal.pid or 0)
        self.said = ""
        self._seen: set[psutil.Process] = set()

    def expect(self, pattern: str) -> str:
        """Wait until the server says `pattern`; returns all that it has said so far."""
        self.terminal.expect(pattern)
        self.said += f"{self.terminal.before}{self.terminal.after}".replace("\r", "")
        return self.said

    def expect_ready(self) -> str:
        """Wait until the server says that it is ready, and return its address."""
        self.expect(r"Ready after .*Ctrl-C stops the server\.")
        return self.said.split("Ready after")[1].split()[2]

    def expect_journal(self, line: str, *, times: int = 1) -> None:
        """Wait until a stand-in has noted `line` this many times."""
        wait_for(lambda: sum(line in noted for noted in self.journal()) >= times)

    def journal(self) -> list[str]:
        """What the stand-ins have noted."""
        with suppress(FileNotFoundError):
            return (self.data_dir / "journal").read_text().splitlines()
        return []

    def noted_pid(self, part: str) -> int:
        """The process id of `part` when it was last started."""
        return int(re.findall(rf"{part} (\d+) started", "\n".join(self.journal()))[-1])

    def look(self) -> list[psutil.Process]:
        """Every process that runs below the server now. They are remembered."""
        below = psutil.Process(self.pid).children(recursive=True)
        self._seen.update(below)
        return below

    def find_all(self, pattern: str) -> list[psutil.Process]:
        """The processes below the server whose commands match `pattern`. All are remembered."""
        return [below for below in self.look() if re.search(pattern, command_of(below))]

    def find(self, pattern: str) -> psutil.Process:
        """The one process below the server whose command matches `pattern`."""
        [found] = self.find_all(pattern)
        return found

    def signal_after_look(self, number: signal.Signals) -> None:
        """Remember what runs, then send the server a signal."""
        self.look()
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait until the server has ended; returns its exit code, or minus the signal that ended it."""
        self.terminal.expect(pexpect.EOF)
        self.said += str(self.terminal.before).replace("\r", "")
        self.terminal.wait()
        signal_number, exit_code = self.terminal.signalstatus, self.terminal.exitstatus
        return -int(signal_number) if signal_number else int(exit_code or 0)

    def survivors(self) -> list[str]:
        """What still runs, seconds after the end, of all that was seen and of the sessions they led."""
        self.terminal.wait()
        give_up = time.monotonic() + LEFTOVERS_END_WITHIN_S
        while (alive := self._find_alive()) and time.monotonic() < give_up:
            time.sleep(0.02)
        return [str(process) for process in alive]

    def _find_alive(self) -> list[psutil.Process]:
        sessions = {self.pid, *(process.pid for process in self._seen)}
        of_sessions = [process for process in psutil.process_iter() if session_of(process.pid) in sessions]
        return [process for process in {*of_sessions, *self._seen} if is_alive(process)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever is left, so that a failed test leaves nothing behind."""
        if self.terminal.isalive():
            self.look()
            os.kill(self.pid, signal.SIGKILL)
            self.terminal.wait()
        for process in self._seen:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(OSError):  # closed by the test
            self.terminal.close()


def wait_for(happened: Callable[[], bool]) -> None:
    """Return when `happened` is true; fails when it takes far too long."""
    give_up = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < give_up, "what was waited for did not happen"
        time.sleep(0.02)


def server_environment(data_dir: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process with the server's settings: any free port, and a Redis of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    return {**inherited, "PORT": "0", "DATA_DIR": str(data_dir), **settings}


def command_of(process: psutil.Process) -> str:
    """The command line of a process; nothing when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def session_of(pid: int) -> int:
    """The session of a process; 0 when it is gone or somebody else's."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0
