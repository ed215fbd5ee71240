"""The lines for programs work as pasted: README's with each client of OpenAI, and those that follow jobs."""

import re
import subprocess
import sys
from collections.abc import Sequence

import pytest

from scripts.purposes import REPOSITORY
from scripts.setup_node import FOLDER as NODE_FOLDER
from tests.support.openai_clients import find_node, find_python
from tests.support.server import RealServer

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
FOLLOWING = (REPOSITORY / "docs" / "following.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8100"

SENTENCE = "We walked along the river until the sun went down behind the hills."
LONG_TEXT_END = "After dinner they played cards and talked about the summer."


def find_block(language: str, *, document: str = README) -> str:
    """The one block of the document in this language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", document, flags=re.MULTILINE | re.DOTALL)
    assert isinstance(block, str)
    return block


def run_lines(command: Sequence[str], lines: str, server: RealServer) -> str:
    """What the lines print, run as if from the top of the repository."""
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
    printed = run_lines([find_python(purpose), "-c"], find_block("python"), whisper_server)
    assert printed.startswith(SENTENCE)
    assert "1\n00:00:00," in printed
    assert "'river'" in printed
    assert printed.endswith(LONG_TEXT_END)


def test_the_lines_for_node_work_as_pasted(whisper_server: RealServer) -> None:
    command = [find_node(), "--input-type=module", "--eval"]
    printed = run_lines(command, find_block("javascript"), whisper_server).splitlines()
    assert printed[0] == SENTENCE
    assert "whisper-1" in printed


def test_the_lines_that_follow_a_job_work_as_pasted(whisper_server: RealServer) -> None:
    block = find_block("python", document=FOLLOWING)
    printed = run_lines([sys.executable, "-c"], block, whisper_server)
    assert printed.strip().endswith(LONG_TEXT_END)
