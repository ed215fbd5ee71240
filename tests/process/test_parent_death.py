"""A process that is tied to its parent dies with it, and one that was let go does not."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from shared import parent_death
from shared.parent_death import is_left_alone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties processes so")

CHILD = (
    "from shared.parent_death import die_with_parent, outlive_parent; "
    "{calls}; print('ready', flush=True); {rest}"
)
PARENT = (
    "import subprocess, sys; "
    "child = subprocess.Popen([sys.executable, '-P', '-c', sys.argv[1]], stdout=subprocess.PIPE); "
    "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
)
SLEEP = "import time; time.sleep(60)"
READ_TO_THE_END = "import sys; sys.stdin.read()"


@pytest.fixture
def parents() -> Iterator[list[subprocess.Popen[str]]]:
    """Provide the parents that a test starts. Their channels are closed at the end."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for parent in started:
        parent.kill()
        with parent:  # which closes both ends and waits
            pass


def start_child(parents: list[subprocess.Popen[str]], calls: str, rest: str) -> psutil.Process:
    """Start a child that makes `calls`, then does the `rest`. It inherits its parent's standard input."""
    command = [sys.executable, "-P", "-c", PARENT, CHILD.format(calls=calls, rest=rest)]
    parents.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    stdout = parents[-1].stdout
    assert stdout is not None
    return psutil.Process(int(stdout.readline()))


def test_a_tied_process_dies_with_its_parent(parents: list[subprocess.Popen[str]]) -> None:
    child = start_child(parents, "die_with_parent()", SLEEP)
    parents[-1].kill()
    parents[-1].wait()
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running()


def test_a_process_that_was_let_go_lives_until_its_channel_ends(parents: list[subprocess.Popen[str]]) -> None:
    child = start_child(parents, "die_with_parent(); outlive_parent()", READ_TO_THE_END)
    parents[-1].kill()
    parents[-1].wait()
    assert child.is_running()
    assert parents[-1].stdin is not None
    parents[-1].stdin.close()
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running()


def test_a_program_that_cannot_tie_itself_is_started_tied(parents: list[subprocess.Popen[str]]) -> None:
    become = "import os; from shared.parent_death import become_tied; "
    script = f"{become}become_tied(os.getppid(), ['/bin/sh', '-c', 'echo ready; exec sleep 60'])"
    command = [sys.executable, "-P", "-c", PARENT, script]
    parents.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    assert parents[-1].stdout is not None
    program = psutil.Process(int(parents[-1].stdout.readline()))
    parents[-1].kill()
    parents[-1].wait()
    psutil.wait_procs([program], timeout=30)
    assert not program.is_running()


def test_a_program_whose_parent_is_dead_already_is_not_started() -> None:
    another_parent = str(os.getpid() + 1)
    command = [sys.executable, "-I", "-S", parent_death.__file__, another_parent, "echo", "started"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == ""


def test_a_process_whose_parent_died_before_it_was_tied_sees_it_by_the_channel() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            assert not is_left_alone(theirs.fileno())
            ours.send(b"an order that nobody has read")
            assert not is_left_alone(theirs.fileno())
        assert is_left_alone(theirs.fileno())


def test_a_model_process_whose_worker_is_gone_ends_before_it_imports_anything() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        done = subprocess.run(
            [sys.executable, "-P", "-X", "importtime", "-m", "worker.model.process_start"],
            stdin=theirs.fileno(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0
    assert "shared.parent_death" in done.stderr
    assert "worker.model.process\n" not in done.stderr
