"""The start of a local server: its output, its effects, and the reasons to refuse."""

import os
import re
import shlex
import socket
import stat
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import psutil
import pytest
import redis

from cli.up.data_folder import open_data_folder
from cli.up.errors import CannotStart
from cli.up.redis_server import redis_command, socket_url
from shared.engine_choice import WHISPER_NEEDS_CPU, choose_engine_for_machine
from shared.start_settings import BAD_SETTING_EXIT_CODE
from tests.process.local_server_driver import (
    REPOSITORY,
    STAND_INS,
    WAIT_S,
    LocalServer,
    server_environment,
    wait_for,
)
from worker.engines.catalog import EngineName

NOBODY = 65_534


def refusal(data_dir: Path, **settings: str) -> tuple[int, str]:
    """Return the exit code of a start that must fail, and its one line of output."""
    ended = subprocess.run(
        STAND_INS,
        cwd=REPOSITORY,
        env=server_environment(data_dir, settings),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ended.returncode > 0
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert not (data_dir / "journal").exists()
    return ended.returncode, ended.stderr


def test_the_welcome_names_address_documentation_and_a_command_to_try(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        address = server.expect_ready()

        assert f"documentation: {address}/docs" in server.output
        [command] = re.findall(r"curl .*", server.output)
        _, _, upload, url = shlex.split(command)
        assert Path(upload.removeprefix("file=@")).is_file()
        assert url == f"{address}/v1/audio/transcriptions"
        assert httpx.get(address, timeout=WAIT_S).text == str(server.noted_pid("api"))


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [("auto", choose_engine_for_machine().engine), *((name, name) for name in EngineName)],
)
def test_the_engine_is_decided_once_shown_and_passed_on(tmp_path: Path, asked: str, chosen: str) -> None:
    with LocalServer(tmp_path, ENGINE=asked) as server:
        server.expect_ready()

        assert f"engine: {chosen}" in server.output
        assert ("ENGINE=auto" in server.output) == (asked == "auto")
        assert f"started with ENGINE={chosen}" in "\n".join(server.journal())


def test_only_the_owner_can_read_the_data_folder_and_its_content(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    with LocalServer(data_dir) as server:
        server.expect_ready()

        for path in (data_dir, *data_dir.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("name", ["with space and ümlaut", "deep" * 30], ids=["odd", "long"])
def test_any_path_can_be_the_data_folder(tmp_path: Path, name: str) -> None:
    with LocalServer(tmp_path / name) as server:
        server.expect_ready()
        environment = psutil.Process(server.noted_pid("worker")).environ()
        socket_folder = Path(unquote(urlsplit(environment["REDIS_URL"]).path)).parent
        assert socket_folder.is_dir()

        server.terminal.sendintr()

        assert server.wait() == 0
        assert socket_folder.exists() == (socket_folder == tmp_path / name / "redis")


def test_jobs_in_redis_are_still_there_after_the_next_start(tmp_path: Path) -> None:
    queue = redis.Redis.from_url(socket_url(tmp_path / "redis" / "redis.sock"))
    with LocalServer(tmp_path) as server:
        server.expect_ready()
        queue.set("job", "queued")
        server.terminal.sendintr()
        server.wait()

    with LocalServer(tmp_path) as server:
        server.expect_ready()

        assert queue.get("job") == b"queued"


def test_a_redis_in_redis_url_is_used_and_none_is_started(tmp_path: Path) -> None:
    with subprocess.Popen(redis_command(tmp_path), stdout=subprocess.DEVNULL) as named:
        try:
            wait_for((tmp_path / "redis.sock").exists)
            url = socket_url(tmp_path / "redis.sock")
            with LocalServer(tmp_path / "data", REDIS_URL=url) as server:
                server.expect_ready()

                assert server.find_all("redis-server|valkey-server") == []
                server.terminal.sendintr()
                assert server.wait() == 0
                assert named.poll() is None
        finally:
            named.terminate()


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert refusal(tmp_path, PORT=str(port)) == (
            1,
            f"PORT={port} is in use by another program. Stop that program, or choose another PORT.\n",
        )


def test_a_host_that_is_not_of_this_machine_is_refused(tmp_path: Path) -> None:
    _, why = refusal(tmp_path, HOST="192.0.2.1")

    assert why.startswith("HOST=192.0.2.1 is not an address of this machine")


def test_a_data_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    _, why = refusal(tmp_path / "file" / "data")

    assert why.startswith(f"DATA_DIR={tmp_path}/file/data cannot be used (Not a directory)")


def test_a_data_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    told, tell = os.pipe()

    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)  # nothing is forbidden to root
            open_data_folder(tmp_path / "data")
        except CannotStart as problem:
            os.write(tell, str(problem).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(tell)

    with os.fdopen(told) as why:
        assert why.read().startswith(f"DATA_DIR={tmp_path}/data cannot be used (Permission denied)")


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as first:
        first.expect_ready()

        ended = subprocess.run(
            STAND_INS,
            cwd=REPOSITORY,
            env=server_environment(tmp_path, {}),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

        assert ended.returncode == 1
        assert ended.stderr == (
            f"DATA_DIR={tmp_path} is in use by another server (process {first.pid}). "
            "Stop that server, or choose another folder with DATA_DIR.\n"
        )
        first.terminal.sendintr()
        assert first.wait() == 0


@pytest.mark.parametrize("engine", ["qwen4", "wisper"])
def test_an_unknown_engine_is_refused_and_not_replaced(tmp_path: Path, engine: str) -> None:
    assert refusal(tmp_path, ENGINE=engine) == (
        2,
        f"ENGINE={engine} does not exist in this version. Choose one of auto, {', '.join(EngineName)}.\n",
    )


@pytest.mark.parametrize(
    "setting",
    [
        *("PORT=65536", "PORT=http", "STOP_GRACE_S=-1", "REDIS_FSYNC=never"),
        *("MAX_UPLOAD_BYTES=-1", "WINDOW_S=long", "LEASE_S=0"),
    ],
)
def test_an_invalid_setting_is_refused_by_name(tmp_path: Path, setting: str) -> None:
    name, value = setting.split("=")

    code, why = refusal(tmp_path, **{name: value})

    assert code == 2
    assert why.startswith(f"{setting}: ")


def test_an_invalid_setting_is_refused_by_its_former_name_where_that_is_set(tmp_path: Path) -> None:
    _, why = refusal(tmp_path, WINDOW_TIMEOUT="abc")

    assert why.startswith("WINDOW_TIMEOUT=abc: ")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("PORT=http", "it should be a whole number"),
        ("URL_INPUT=maybe", "it should be true or false"),
        ("REQUEST_TIMEOUT=inf", "it should be a finite number"),
        ("REDIS_URL=http://x", "it should begin with redis://, rediss:// or unix://"),
        ("WEBHOOK_RETRIES_S=5,b", "'b' is not a number of seconds above 0"),
        ("PUBLIC_URL=foo", "it should begin with http:// or https:// and name a host"),
        ("DEVICE=gpu", "it should be auto, cpu, mps, cuda or cuda:N, such as cuda:1"),
    ],
)
def test_the_refusal_of_a_setting_says_what_is_wrong(tmp_path: Path, setting: str, reason: str) -> None:
    assert refusal(tmp_path, **dict([setting.split("=")])) == (2, f"{setting}: {reason}.\n")


@pytest.mark.parametrize(("engine", "setting"), [("whisper", "WHISPER_MODEL"), ("qwen3", "MODEL_ID")])
def test_a_path_to_a_model_that_leads_nowhere_is_refused(tmp_path: Path, engine: str, setting: str) -> None:
    model = f"{tmp_path}/nope"

    assert refusal(tmp_path, **{"ENGINE": engine, setting: model}) == (
        BAD_SETTING_EXIT_CODE,
        f"{setting}={model}: there is no such folder.\n",
    )


@pytest.mark.parametrize(
    ("engine", "setting", "example"),
    [
        ("whisper", "WHISPER_MODEL", "Systran/faster-whisper-base"),
        ("qwen3", "MODEL_ID", "Qwen/Qwen3-ASR-0.6B"),
    ],
)
def test_a_relative_path_to_a_model_that_leads_nowhere_is_refused(
    tmp_path: Path, engine: str, setting: str, example: str
) -> None:
    code, why = refusal(tmp_path, **{"ENGINE": engine, setting: "tests/data/nope"})

    assert code == BAD_SETTING_EXIT_CODE
    assert why == (
        f"{setting}=tests/data/nope: there is no such folder, and a name on the hub has one slash, "
        f"such as {example}.\n"
    )


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    code, why = refusal(tmp_path, ENGINE="qwen3", MODEL_ID="tests/audio")

    assert code == BAD_SETTING_EXIT_CODE
    assert why == (
        "MODEL_ID=tests/audio: there is no config.json in this folder. Set MODEL_ID to the folder of a "
        "model, or to a name on the hub such as Qwen/Qwen3-ASR-0.6B.\n"
    )


def test_cuda_for_whisper_is_refused(tmp_path: Path) -> None:
    code, why = refusal(tmp_path, ENGINE="whisper", DEVICE="cuda")

    assert code == BAD_SETTING_EXIT_CODE
    assert why == f"DEVICE=cuda: {WHISPER_NEEDS_CPU}.\n"


@pytest.mark.parametrize(
    ("model", "notice", "is_announced"),
    [
        ("Qwen/Qwen3-ASR-0.6B", "downloads the weights of Qwen/Qwen3-ASR-0.6B (about 2 GB)", True),
        ("Qwen/Qwen3-ASR-1.7B", "downloads the weights of Qwen/Qwen3-ASR-1.7B (its page on the hub", True),
        ("tests/data/tiny-qwen3-asr", "downloads the weights", False),
    ],
)
def test_the_download_is_announced_for_a_name_on_the_hub(
    tmp_path: Path, model: str, notice: str, *, is_announced: bool
) -> None:
    with LocalServer(tmp_path, ENGINE="qwen3", MODEL_ID=model) as server:
        server.expect_ready()

        assert (notice in server.output) == is_announced


def test_a_model_id_for_whisper_is_refused_with_two_ways_out(tmp_path: Path) -> None:
    code, why = refusal(tmp_path, ENGINE="whisper", MODEL_ID="Qwen/Qwen3-ASR-1.7B")

    assert code == BAD_SETTING_EXIT_CODE
    assert why.startswith("MODEL_ID=Qwen/Qwen3-ASR-1.7B: the engine is whisper")
    assert "Set ENGINE=qwen3" in why
    assert "remove MODEL_ID" in why


def test_the_start_names_the_setting_that_a_misspelt_variable_means(tmp_path: Path) -> None:
    with LocalServer(tmp_path, MODLE_ID="foo", IDLE_TIMOUT="3") as server:
        server.expect_ready()

        assert "MODLE_ID is not a setting; did you mean MODEL_ID?" in server.output
        assert "IDLE_TIMOUT is not a setting; did you mean IDLE_TIMEOUT?" in server.output


def test_a_redis_that_does_not_answer_is_refused_without_its_password(
    tmp_path: Path,
) -> None:
    _, why = refusal(tmp_path, REDIS_URL="redis://user:secret@127.0.0.1:1/0")

    assert why.startswith("REDIS_URL: redis://127.0.0.1:1/0 cannot be used: ")
    assert "secret" not in why


def test_keys_are_neither_shown_nor_given_to_the_worker(tmp_path: Path) -> None:
    with LocalServer(tmp_path, API_KEYS="lab=k3y-0123456789abcdef") as server:
        server.expect_ready()
        worker = psutil.Process(server.noted_pid("worker"))

        assert "each request needs one of API_KEYS" in server.output
        [command] = re.findall(r"curl .*", server.output)
        assert shlex.split(command)[1:3] == ["-H", "Authorization: Bearer KEY"]
        assert "Try it, with one of API_KEYS instead of KEY:" in server.output
        assert "k3y-0123456789abcdef" not in server.output
        assert "API_KEYS" not in worker.environ()
        assert "WEBHOOK_SECRET" not in worker.environ()
        environment = psutil.Process(server.noted_pid("api")).environ()
        assert "API_KEYS" in environment
        assert environment["WEBHOOK_SECRET"] == (tmp_path / "webhook_secret").read_text().strip()


def test_a_wrong_key_is_refused_in_one_line_that_does_not_show_it(tmp_path: Path) -> None:
    exit_code, why = refusal(tmp_path, API_KEYS="lab=sh0rt-k3y")

    assert exit_code == BAD_SETTING_EXIT_CODE
    assert why.startswith("API_KEYS: entry 1: ")
    assert "fewer than 16 characters" in why
    assert "sh0rt" not in why
