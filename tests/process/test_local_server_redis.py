"""The private Redis of a local server: found, started, reachable only by its owner, and durable."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from cli.up import redis_server
from cli.up.errors import CannotStart
from cli.up.redis_server import (
    choose_socket,
    find_packaged_server,
    find_redis_server,
    redis_command,
    socket_url,
)
from shared.broker import to_kombu_url
from tests.process.local_server_driver import wait_for


def put_on_path(folder: Path, name: str, version: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH for programs, empty at first."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("redis-server", "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64"),
        ("redis-server", "Redis server v=10.0.1 sha=00000000:0 malloc=libc bits=64"),
        ("valkey-server", "Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"),
    ],
)
def test_a_server_on_path_is_preferred(path_folder: Path, name: str, version: str) -> None:
    program = put_on_path(path_folder, name, version)

    assert find_redis_server() == program


@pytest.mark.parametrize("version", ["Redis server v=6.0.16 sha=00000000:0", "no version at all"])
def test_a_server_on_path_that_is_too_old_is_passed_over(path_folder: Path, version: str) -> None:
    put_on_path(path_folder, "redis-server", version)

    assert find_redis_server() == find_packaged_server()


def test_the_packaged_server_is_a_valkey_that_is_new_enough() -> None:
    packaged = find_packaged_server()

    assert packaged is not None
    assert redis_server.read_version(packaged) >= redis_server.MINIMUM_VERSION


def test_without_any_server_the_error_names_the_remedy(
    path_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list(path_folder.iterdir())
    monkeypatch.setattr(redis_server, "find_packaged_server", lambda: None)

    with pytest.raises(CannotStart, match="REDIS_URL"):
        find_redis_server()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running server and its folder, whose name needs quoting in a URL."""
    folder = tmp_path / "data with ümlaut"
    folder.mkdir()
    with subprocess.Popen(redis_command(folder, "always"), stdout=subprocess.DEVNULL) as process:
        wait_for((folder / "redis.sock").exists)
        yield process, folder
        process.kill()


def test_the_server_listens_on_a_private_socket_and_on_no_port(
    started: tuple[subprocess.Popen[bytes], Path],
) -> None:
    _, folder = started
    socket = folder / "redis.sock"

    settings = redis.Redis.from_url(socket_url(socket)).config_get("*")

    assert socket.stat().st_mode & 0o777 == 0o700
    assert {
        name: settings[name] for name in ("port", "appendonly", "appendfsync", "save", "maxmemory-policy")
    } == {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
    }


def test_celery_finds_the_server_by_the_same_url(started: tuple[subprocess.Popen[bytes], Path]) -> None:
    _, folder = started

    with Connection(to_kombu_url(socket_url(folder / "redis.sock"))) as connection:
        connection.ensure_connection(max_retries=1)


def test_a_killed_server_has_lost_nothing(started: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, folder = started
    client = redis.Redis.from_url(socket_url(folder / "redis.sock"))
    for number in range(1000):
        client.rpush("jobs", number)

    process.kill()
    process.wait()
    (folder / "redis.sock").unlink()
    with subprocess.Popen(redis_command(folder), stdout=subprocess.DEVNULL) as again:
        wait_for((folder / "redis.sock").exists)

        assert client.llen("jobs") == 1000
        again.kill()


def test_a_socket_lies_beside_its_data_unless_its_path_would_be_too_long(tmp_path: Path) -> None:
    short, long = Path("/srv/redis"), tmp_path / ("long" * 25)

    assert choose_socket(short) == short / "redis.sock"
    chosen = choose_socket(long)
    assert chosen.parent.stat().st_mode & 0o777 == 0o700
    chosen.parent.rmdir()


HOLD_SOCKET = (
    "import sys, pathlib; from cli.up.redis_server import choose_socket; "
    "socket = choose_socket(pathlib.Path(sys.argv[1])); socket.touch(); print(socket, flush=True); input()"
)


def test_the_socket_folder_of_a_killed_server_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 25)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, running = (
        subprocess.Popen(
            [sys.executable, "-c", HOLD_SOCKET, long],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    killed_socket, held_socket = read_path(killed), read_path(running)
    killed.kill()
    killed.communicate()

    new_socket = choose_socket(long)

    assert not killed_socket.parent.exists()
    assert held_socket.exists()
    assert new_socket.parent.is_dir()
    running.communicate("\n")


def read_path(process: subprocess.Popen[str]) -> Path:
    assert process.stdout
    return Path(process.stdout.readline().strip())
