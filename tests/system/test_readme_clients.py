"""The programs in the documents work as pasted: with each of OpenAI's clients, and to follow jobs."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from scripts.setup_node import FOLDER as NODE_FOLDER
from tests.support.documents import ADDRESS, REPOSITORY, find_block
from tests.support.openai_clients import find_node, find_python
from tests.support.server import RealServer

SENTENCE = "We walked along the river until the sun went down behind the hills."
LONG_TEXT_END = "After dinner they played cards and talked about the summer."


def run_lines(command: Sequence[str], lines: str, server: RealServer) -> str:
    """Return what the lines print, run as if from the top of the repository."""
    pasted = lines.replace(ADDRESS, server.base_url).replace("tests/audio/", f"{REPOSITORY}/tests/audio/")
    done = subprocess.run(
        # The client for Node is found from the working directory.
        [*command, pasted],
        cwd=NODE_FOLDER if NODE_FOLDER.exists() else REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("purpose", ["openai-newest", pytest.param("openai-1", marks=pytest.mark.full)])
def test_the_lines_for_python_work_as_pasted(whisper_server: RealServer, purpose: str) -> None:
    printed = run_lines([find_python(purpose), "-c"], find_block("python", "README.md"), whisper_server)
    assert printed.startswith(SENTENCE)
    assert "'river'" in printed
    assert printed.endswith(LONG_TEXT_END)


def test_the_lines_for_node_work_as_pasted(whisper_server: RealServer) -> None:
    command = [find_node(), "--input-type=module", "--eval"]
    printed = run_lines(command, find_block("javascript", "README.md"), whisper_server)
    assert printed.splitlines() == [SENTENCE]


def test_the_lines_that_follow_a_job_work_as_pasted(whisper_server: RealServer) -> None:
    block = find_block("python", "docs/jobs.md")
    printed = run_lines([sys.executable, "-c"], block, whisper_server)
    assert printed.strip().endswith(LONG_TEXT_END)
