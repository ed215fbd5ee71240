"""A part that crashes restarts; a part that keeps crashing ends the local server."""

import os
import signal
from pathlib import Path

import httpx
import redis

from cli.up.redis_server import socket_url
from tests.process.local_server_driver import WAIT_S, LocalServer, wait_for


def test_a_killed_worker_restarts_and_the_reason_is_shown(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        server.expect_ready()
        killed = server.noted_pid("worker")

        os.kill(killed, signal.SIGKILL)

        server.expect_journal("worker is alive", times=2)
        server.expect(r"worker ended unexpectedly \(signal 9, Killed.*\)")
        assert server.noted_pid("worker") != killed
        server.signal_after_look(signal.SIGINT)
        assert server.wait() == 0
        assert server.survivors() == []


def test_a_client_that_connects_while_the_api_restarts_gets_an_answer(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        address = server.expect_ready()
        killed = server.noted_pid("api")
        os.kill(killed, signal.SIGKILL)

        answer = httpx.get(address, timeout=WAIT_S)

        assert int(answer.text) == server.noted_pid("api") != killed


def test_a_killed_redis_restarts_with_all_its_data(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        server.expect_ready()
        queue = redis.Redis.from_url(socket_url(tmp_path / "redis" / "redis.sock"))
        queue.set("job", "queued")

        server.find("redis.sock").kill()

        server.expect(r"redis ended unexpectedly \(signal 9, Killed.*\)")
        wait_for(lambda: holds(queue, "job"))
        server.signal_after_look(signal.SIGINT)
        assert server.wait() == 0
        assert "worker was asked to stop, Redis answers" in server.journal()


def test_a_part_that_keeps_crashing_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    with LocalServer(tmp_path, MISBEHAVIOUR="worker crashes") as server:
        server.expect("worker ended unexpectedly")
        server.look()

        assert server.wait() == 1
        assert server.output.count("worker ended unexpectedly (exit code 3)") == 3
        assert (
            "Stopping, because worker ended 4 times within 60 s, the last time with exit code 3."
            in server.output
        )
        assert server.output.count("out of luck") == 4 + 1  # as it came, and in the reason
        assert server.survivors() == []


def test_the_last_lines_of_redis_are_in_its_log_and_in_the_reason(tmp_path: Path) -> None:
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    (tmp_path / "redis" / "appendonlydir" / "appendonly.aof.manifest").write_text("no manifest")

    with LocalServer(tmp_path) as server:
        assert server.wait() == 1
        assert "redis ended 4 times" in server.output
        for text in (server.output, (tmp_path / "logs" / "redis.log").read_text()):
            assert "AOF manifest" in text
        assert server.journal() == []


def holds(queue: "redis.Redis", key: str) -> bool:
    try:
        return bool(queue.exists(key))
    except redis.ConnectionError:
        return False
