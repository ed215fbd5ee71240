"""README is true: its commands work as pasted, and its tables are those of the code."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.up.webhook_secret import keep_webhook_secret
from tests.support.server import RealServer, find_free_port
from tests.support.settings_table import render_settings_table

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8100"

SENTENCE = "We walked along the river until the sun went down behind the hills."
LONG_TEXT_END = "After dinner they played cards and talked about the summer."

# Each block of commands, found by a piece of it, and what its output must contain.
COMMAND_BLOCKS = {
    "speech.mp3": [SENTENCE],
    "speech.m4a": [SENTENCE, '"timestamps"'],
    "/transcriptions/stream": [LONG_TEXT_END, '"is_final":true', '{"done":true}'],
    "-X DELETE": ["event: segment", "event: succeeded", LONG_TEXT_END],
    "format=srt": ['"order": 17', "00:00:00,", "-->", '"has_more"'],
    "stream-token": ["event: queued", "event: succeeded"],
    "Last-Event-ID: $LAST": ["event: segment", "event: succeeded"],
    "Idempotency-Key": ["idempotent-replayed: true"],
    "token_urlsafe": ["sha256:d4b4d0f92fd311f6fd889fe1e61c41f4a08c58bf0a2f59cbfb898c4f145ad8c4"],
    "/health": ['"status":"ok"', '"status":"ready"'],
}

# Those that ask for a server which may call this machine.
INWARD_BLOCKS = {
    "webhook_secret": ["'type': 'job.succeeded'", "'metadata': {'order': 17}"],
    "-d url=": ['"state": "succeeded"', '"filename": "speech.ogg"'],
}

# `make run` and `make chaos` have tests of their own; these are what CI is made of.
CI_COMMANDS = ("make check", "make test", "make test-full")

# No container is run here; test_image_contents.py does what the images are made of.
DOCKER_COMMAND = "docker compose up -d"


def find_blocks() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [block for block in blocks if not block.startswith(DOCKER_COMMAND)]


def test_every_command_block_is_known_here() -> None:
    for block in find_blocks():
        is_make = block.splitlines() in (["make run"], ["make chaos"], [*CI_COMMANDS])
        pieces = [*COMMAND_BLOCKS, *INWARD_BLOCKS]
        assert is_make or sum(piece in block for piece in pieces) == 1, block


@pytest.mark.parametrize("piece", COMMAND_BLOCKS)
def test_the_commands_work_as_pasted(whisper_server: RealServer, piece: str) -> None:
    printed = run_block(find_block(piece).replace(ADDRESS, whisper_server.base_url))
    for expected in COMMAND_BLOCKS[piece]:
        assert compact(expected) in compact(printed)


@pytest.fixture(scope="module")
def inward_server(make_lasting_server: Callable[..., RealServer], secret_dir: Path) -> RealServer:
    """A server that may call this machine, and signs with the secret that is kept in `secret_dir`."""
    secret = keep_webhook_secret(secret_dir)
    server = make_lasting_server(ALLOW_PRIVATE_ADDRESSES="true", URL_INPUT="true", WEBHOOK_SECRET=secret)
    server.start().start_webhooks()
    return server


@pytest.fixture(scope="module")
def secret_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("piece", INWARD_BLOCKS)
def test_the_commands_that_call_this_machine_work_as_pasted(
    inward_server: RealServer, secret_dir: Path, piece: str
) -> None:
    pasted = find_block(piece).replace(ADDRESS, inward_server.base_url)
    printed = run_block(pasted.replace("data/", f"{secret_dir}/").replace("8200", str(find_free_port())))
    for expected in INWARD_BLOCKS[piece]:
        assert compact(expected) in compact(printed)


def find_block(piece: str) -> str:
    """The block of commands that has this piece."""
    (block,) = (block for block in find_blocks() if piece in block)
    return block


def run_block(commands: str) -> str:
    """What the commands print."""
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
    """The text without the spaces that JSON may have or not."""
    return re.sub(r'(?<=[:,{"]) ', "", text)


def test_the_make_commands_are_those_that_ci_runs() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line.startswith("make")] == [*CI_COMMANDS]


def test_the_settings_table_is_that_of_the_settings_classes() -> None:
    table = README.partition("<!-- settings")[2].partition("-->\n")[2].partition("<!-- end")[0]
    assert table.strip() == render_settings_table(), "run `python -m tests.support.settings_table`"


def test_the_sentences_that_are_looked_for_are_those_of_the_clips() -> None:
    manifest = (REPOSITORY / "tests" / "audio" / "manifest.tsv").read_text()
    assert SENTENCE in manifest
    assert LONG_TEXT_END in manifest
