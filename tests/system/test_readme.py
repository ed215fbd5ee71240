"""README and docs/ are true: each block of commands works as pasted."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.up.data_folder import keep_webhook_secret
from tests.bench.settings import BenchSettings
from tests.support.documents import ADDRESS, REPOSITORY, find_blocks, read_document
from tests.support.server import RealServer, find_free_port, wait_for
from tests.support.settings_table import find_settings

SENTENCE = "We walked along the river until the sun went down behind the hills."
LONG_TEXT_END = "After dinner they played cards and talked about the summer."

# Each block of commands, found by a piece of it, and what its output must contain.
COMMAND_BLOCKS = {
    "speech.mp3": [SENTENCE, "00:00:00,", "-->"],
    "/v1/audio/transcriptions/stream\n": [LONG_TEXT_END, '"is_final":true', '{"done":true}'],
    "-X DELETE": ["event: segment", "event: succeeded", "WEBVTT", LONG_TEXT_END],
    "format=srt -F 'metadata": ['"order": 17', "00:00:00,", "-->", '"has_more"'],
    "stream -F file=@tests": ["event: job", "event: started", '"is_final":true', 'data: {"done":true}'],
    "stream=true": ['"type":"transcript.text.delta"', '"type":"transcript.text.done"', "data: [DONE]"],
    "stream-token": ["event: queued", "event: succeeded"],
    "partial=true": ["WEBVTT"],
    "Last-Event-ID: $LAST": ["event: segment", "event: succeeded"],
    "Idempotency-Key": ["idempotent-replayed: true"],
    "token_urlsafe": ["sha256:d4b4d0f92fd311f6fd889fe1e61c41f4a08c58bf0a2f59cbfb898c4f145ad8c4"],
    "/dev/urandom": ["whsec_"],
    "8100/ready": ['"status":"ok"', '"status":"ready"'],
}

# Blocks that need a server which may call this machine.
INWARD_BLOCKS = {
    "webhook_secret": ["'type': 'job.succeeded'", "'metadata': {'order': 17}"],
    "-d url=": ['"state": "succeeded"', '"filename": "speech.ogg"'],
}

SECOND_WORKER = "-m worker"

# `make run`, `make chaos` and `make bench` have tests of their own; these are what CI is made of.
CI_COMMANDS = ("make check", "make test", "make test-full")

# No container is run here; test_image_contents.py runs the install steps of the images.
DOCKER_COMMAND = "docker compose up -d"


def test_every_command_block_is_known_here() -> None:
    for block in find_blocks("sh"):
        pieces = [*COMMAND_BLOCKS, *INWARD_BLOCKS, SECOND_WORKER]
        is_external = block.startswith(("make ", DOCKER_COMMAND))
        assert is_external or sum(piece in block for piece in pieces) == 1, block


def test_the_make_commands_name_targets_and_settings_that_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", read_document("Makefile"), flags=re.MULTILINE)
    bench = {name.upper() for name in BenchSettings.model_fields}
    settings_of = {"bench": bench, "bench-gpu": bench}
    lines = [line for block in find_blocks("sh") for line in block.splitlines()]
    for line in lines:
        if line.startswith("make "):
            _, target, *settings = shlex.split(line)
            assert target in targets
            known = settings_of.get(target, {*find_settings()})
            assert {setting.partition("=")[0] for setting in settings} <= known


@pytest.mark.parametrize("piece", COMMAND_BLOCKS)
def test_the_commands_work_as_pasted(whisper_server: RealServer, piece: str) -> None:
    printed = run_block(find_command_block(piece).replace(ADDRESS, whisper_server.base_url))
    for expected in COMMAND_BLOCKS[piece]:
        assert compact(expected) in compact(printed)


@pytest.fixture(scope="module")
def inward_server(make_lasting_server: Callable[..., RealServer], secret_dir: Path) -> RealServer:
    """A server that may call this machine, and signs with the secret that is kept in `secret_dir`."""
    secret = keep_webhook_secret(secret_dir)
    server = make_lasting_server(ALLOW_PRIVATE_ADDRESSES="true", URL_INPUT="true", WEBHOOK_SECRET=secret)
    server.start()
    return server


@pytest.fixture(scope="module")
def secret_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("piece", INWARD_BLOCKS)
def test_the_commands_that_call_this_machine_work_as_pasted(
    inward_server: RealServer, secret_dir: Path, piece: str
) -> None:
    pasted = find_command_block(piece).replace(ADDRESS, inward_server.base_url)
    pasted = pasted.replace(".venv/bin/python", sys.executable)
    printed = run_block(pasted.replace("data/", f"{secret_dir}/").replace("8200", str(find_free_port())))
    for expected in INWARD_BLOCKS[piece]:
        assert compact(expected) in compact(printed)


def test_the_second_worker_joins_the_server(make_server: Callable[..., RealServer]) -> None:
    server = make_server().start()
    pasted = find_command_block(SECOND_WORKER).replace(".venv/bin/python", sys.executable)
    socket_path = server.redis.url.removeprefix("unix://")
    pasted = pasted.replace("$PWD/data/redis/redis.sock", socket_path).replace(
        "$PWD/data", str(server.folder)
    )
    second = subprocess.Popen(
        ["/bin/bash", "-c", f"ENGINE=scripted {pasted}"], cwd=REPOSITORY, start_new_session=True
    )
    try:
        wait_for(lambda: len(server.client.get("/health").json()["workers"]) > 1, what="a second worker")
    finally:
        second.send_signal(signal.SIGTERM)
        second.wait(30)


def find_command_block(piece: str) -> str:
    """Return the block of commands that has this piece."""
    (block,) = (block for block in find_blocks("sh") if piece in block)
    return block


def run_block(commands: str) -> str:
    """Return what the commands print."""
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def compact(text: str) -> str:
    """Return the text without the spaces that JSON may have or not."""
    return re.sub(r'(?<=[:,{"]) ', "", text)


def test_the_make_commands_of_ci_are_those_of_contributing() -> None:
    script = read_document(".ci/run").splitlines()
    assert [line for line in script if line.startswith("make")] == [*CI_COMMANDS]
    assert all(f"`{command}`" in read_document("CONTRIBUTING.md") for command in CI_COMMANDS)


def test_the_expected_sentences_are_those_of_the_clips() -> None:
    manifest = read_document("tests/audio/manifest.tsv")
    assert SENTENCE in manifest
    assert LONG_TEXT_END in manifest
