"""The parts of a local server stop in order, and no end of the server leaves a process behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli.up.descendants import is_alive
from tests.process.local_server_driver import (
    REPOSITORY,
    STAND_INS,
    WAIT_S,
    LocalServer,
    command_of,
    server_environment,
)

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties children to their parent")

ORDERLY = [
    "api was asked to stop",
    "worker was asked to stop, Redis answers",
]


def test_ctrl_c_in_a_terminal_stops_api_then_worker_then_redis(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        server.expect_ready()
        server.look()

        server.terminal.sendintr()

        assert server.wait() == 0
        assert server.journal()[-2:] == ORDERLY
        assert "Stopping: the api, then the worker, then Redis." in server.output
        assert server.survivors() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "group"])
def test_a_signal_to_the_server_or_its_group_stops_it_in_order(
    tmp_path: Path, number: signal.Signals, send: Callable[[int, int], None]
) -> None:
    with LocalServer(tmp_path) as server:
        server.expect_ready()
        server.look()

        send(server.pid, number)

        assert server.wait() == 0
        assert server.journal()[-2:] == ORDERLY
        assert server.survivors() == []


def test_the_echo_of_a_signal_does_not_kill_the_parts(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        server.expect_ready()

        server.signal_after_look(signal.SIGTERM)
        os.kill(server.pid, signal.SIGTERM)

        assert server.wait() == 0
        assert server.journal()[-2:] == ORDERLY


def test_a_second_signal_kills_all_parts(tmp_path: Path) -> None:
    with LocalServer(tmp_path, MISBEHAVIOUR="worker ignores SIGTERM", STOP_GRACE_S="600") as server:
        server.expect_ready()
        server.signal_after_look(signal.SIGINT)
        server.expect_journal("worker was asked to stop")

        time.sleep(1.1)  # any sooner, it would count as an echo of the first
        server.terminal.sendintr()

        assert server.wait() == 1
        assert "Killing all parts." in server.output
        assert server.survivors() == []


def test_a_signal_during_the_start_stops_the_started_parts(tmp_path: Path) -> None:
    with LocalServer(tmp_path, MISBEHAVIOUR="worker chatters") as server:
        server.expect("chatter")

        server.signal_after_look(signal.SIGTERM)

        assert server.wait() == 0
        assert server.survivors() == []


@only_linux
def test_the_kernel_kills_all_parts_of_a_killed_supervisor(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as killed:
        killed.expect_ready()
        parts = psutil.Process(killed.pid).children()
        assert any("redis.sock" in command_of(part) for part in parts)
        # Frozen parts cannot end on their own.
        for part in parts:
            part.suspend()

        killed.signal_after_look(signal.SIGKILL)

        assert killed.survivors() == []


@only_linux
def test_the_data_folder_of_a_killed_server_can_be_used_at_once(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as killed:
        killed.expect_ready()
        killed.signal_after_look(signal.SIGKILL)

        with LocalServer(tmp_path) as server:
            server.expect_ready()
            assert killed.survivors() == []
            server.signal_after_look(signal.SIGTERM)
            assert server.wait() == 0


@only_linux
def test_a_supervisor_killed_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    for moment in range(6):
        with LocalServer(tmp_path / str(moment)) as server:
            while len(server.look()) <= moment // 2:  # Redis, then the other parts
                pass
            server.signal_after_look(signal.SIGKILL)
            assert server.survivors() == []


def test_a_closed_terminal_stops_the_server(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        server.expect_ready()
        server.look()

        os.close(server.terminal.child_fd)

        assert server.survivors() == []
        assert server.journal()[-2:] == ORDERLY


@pytest.mark.parametrize("pipe", ["closed", "full"])
def test_an_output_without_a_reader_does_not_keep_the_server_from_stopping(tmp_path: Path, pipe: str) -> None:
    with subprocess.Popen(
        STAND_INS,
        cwd=REPOSITORY,
        env=server_environment(tmp_path, {"MISBEHAVIOUR": "worker chatters"}),
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        while b"chatter" not in server.stdout.readline():
            pass
        below = psutil.Process(server.pid).children(recursive=True)
        if pipe == "closed":
            server.stdout.close()

        server.terminate()

        assert server.wait(WAIT_S) == 0
        assert not any(is_alive(process) for process in below)


def test_a_process_that_outlives_the_part_that_started_it_is_ended(tmp_path: Path) -> None:
    with LocalServer(tmp_path, MISBEHAVIOUR="worker leaves a stray") as server:
        server.expect_ready()
        stray = server.find("sleep 600")

        server.signal_after_look(signal.SIGINT)

        assert server.wait() == 0
        assert f"Killed process {stray.pid}" in server.output
        assert server.survivors() == []
