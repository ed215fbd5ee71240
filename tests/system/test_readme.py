"""README is true: its commands work as pasted, and its tables are those of the code."""

import re
import subprocess
from pathlib import Path

import pytest

from scripts.settings_table import render_settings_table
from tests.fakes.server import RealServer

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
    "/v1/jobs/$JOB/events": ["event: segment", "event: succeeded", LONG_TEXT_END],
    "Idempotency-Key": ["idempotent-replayed: true"],
    "token_urlsafe": ["sha256:d4b4d0f92fd311f6fd889fe1e61c41f4a08c58bf0a2f59cbfb898c4f145ad8c4"],
    "/health": ['"status":"ok"', '"status":"ready"'],
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
        assert is_make or sum(piece in block for piece in COMMAND_BLOCKS) == 1, block


@pytest.mark.parametrize("piece", COMMAND_BLOCKS)
def test_the_commands_work_as_pasted(whisper_server: RealServer, piece: str) -> None:
    (block,) = (block for block in find_blocks() if piece in block)
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", block.replace(ADDRESS, whisper_server.base_url)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for expected in COMMAND_BLOCKS[piece]:
        assert compact(expected) in compact(done.stdout), done.stdout


def compact(text: str) -> str:
    """The text without the spaces that JSON may have or not."""
    return re.sub(r'(?<=[:,{"]) ', "", text)


def test_the_make_commands_are_those_that_ci_runs() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line.startswith("make")] == [*CI_COMMANDS]


def test_the_settings_table_is_that_of_the_settings_classes() -> None:
    table = README.partition("<!-- settings")[2].partition("-->\n")[2].partition("<!-- end")[0]
    assert table.strip() == render_settings_table(), "run `python -m scripts.settings_table`"


def test_the_sentences_that_are_looked_for_are_those_of_the_clips() -> None:
    manifest = (REPOSITORY / "tests" / "audio" / "manifest.tsv").read_text()
    assert SENTENCE in manifest
    assert LONG_TEXT_END in manifest
