"""A driver of a local server in a pseudo-terminal, which also finds processes that outlive it."""

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
WAIT_S = 60
LEFTOVERS_END_WITHIN_S = 10


class LocalServer:
    """A local server with its own session and terminal; by default it is made of stand-ins."""

    def __init__(self, data_dir: Path, *, command: Sequence[str] = STAND_INS, **settings: str) -> None:
        self.data_dir = data_dir
        self.terminal = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=server_environment(data_dir, settings),
            cwd=str(REPOSITORY),
            encoding="utf-8",
            timeout=WAIT_S,
            dimensions=(50, 1000),
        )
        self.pid = int(self.terminal.pid or 0)
        self.output = ""
        self._seen: set[psutil.Process] = set()

    def expect(self, pattern: str) -> str:
        """Wait until the server prints `pattern`, and return all its output so far."""
        self.terminal.expect(pattern)
        self.output += f"{self.terminal.before}{self.terminal.after}".replace("\r", "")
        return self.output

    def expect_ready(self) -> str:
        """Wait until the server prints that it is ready, and return its address."""
        self.expect(r"Ready after .*Ctrl-C stops the server\.")
        return self.output.split("Ready after")[1].split()[2]

    def expect_journal(self, line: str, *, times: int = 1) -> None:
        """Wait until a stand-in has written `line` to the journal this many times."""
        wait_for(lambda: sum(line in noted for noted in self.journal()) >= times)

    def journal(self) -> list[str]:
        """Return the lines that the stand-ins have written."""
        with suppress(FileNotFoundError):
            return (self.data_dir / "journal").read_text().splitlines()
        return []

    def noted_pid(self, part: str) -> int:
        """Return the process id of `part` at its last start."""
        return int(re.findall(rf"{part} (\d+) started", "\n".join(self.journal()))[-1])

    def look(self) -> list[psutil.Process]:
        """Return every process below the server now, and remember them."""
        below = psutil.Process(self.pid).children(recursive=True)
        self._seen.update(below)
        return below

    def find_all(self, pattern: str) -> list[psutil.Process]:
        """Return the processes below the server whose commands match `pattern`, and remember all."""
        return [below for below in self.look() if re.search(pattern, command_of(below))]

    def find(self, pattern: str) -> psutil.Process:
        """Return the one process below the server whose command matches `pattern`."""
        [found] = self.find_all(pattern)
        return found

    def signal_after_look(self, number: signal.Signals) -> None:
        """Remember what runs, then send the server a signal."""
        self.look()
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait until the server has ended; return its exit code, or minus the signal that ended it."""
        self.terminal.expect(pexpect.EOF)
        self.output += str(self.terminal.before).replace("\r", "")
        self.terminal.wait()
        signal_number, exit_code = self.terminal.signalstatus, self.terminal.exitstatus
        return -int(signal_number) if signal_number else int(exit_code or 0)

    def survivors(self) -> list[str]:
        """Return the processes that still run, seconds after the end, of all seen and of their sessions."""
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
        """End all remaining processes, so that a failed test leaves none."""
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
    """Return when `happened` returns true; fail after WAIT_S."""
    give_up = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < give_up, "the awaited condition did not come true"
        time.sleep(0.02)


def server_environment(data_dir: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process with settings for a free port and a private Redis."""
    inherited = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    return {**inherited, "PORT": "0", "DATA_DIR": str(data_dir), **settings}


def command_of(process: psutil.Process) -> str:
    """Return the command line of a process; empty if it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def session_of(pid: int) -> int:
    """Return the session of a process; 0 if it is gone or belongs to another user."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0
