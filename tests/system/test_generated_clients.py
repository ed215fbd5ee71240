"""/openapi.json is valid, and clients that are generated from it have types that hold, and transcribe."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.setup_node import FOLDER as NODE_FOLDER
from tests.support.openai_clients import DRIVERS, find_node, find_python
from tests.support.server import RealServer

PYTHON_DRIVER = """
import json
import sys
from pathlib import Path

from generated import Client
from generated.api.jobs import create_job, read_one_job
from generated.api.transcriptions import transcribe
from generated.models.create_job_files_job_form import CreateJobFilesJobForm
from generated.models.job_body import JobBody
from generated.models.transcribe_transcription_form import TranscribeTranscriptionForm
from generated.models.transcribe_transcription_form_granularity import TranscribeTranscriptionFormGranularity
from generated.models.transcribe_transcription_form_response_format import (
    TranscribeTranscriptionFormResponseFormat,
)
from generated.models.transcription_answer import TranscriptionAnswer
from generated.models.verbose_transcription import VerboseTranscription
from generated.types import File

client = Client(base_url=sys.argv[1])
path = Path(sys.argv[2])


def open_file() -> File:
    return File(payload=path.open("rb"), file_name="recording.wav")


plain = transcribe.sync(client=client, body=TranscribeTranscriptionForm(file=open_file()))
assert isinstance(plain, TranscriptionAnswer), plain
form = TranscribeTranscriptionForm(
    file=open_file(),
    response_format=TranscribeTranscriptionFormResponseFormat.VERBOSE_JSON,
    timestamp_granularities=[*TranscribeTranscriptionFormGranularity],
)
verbose = transcribe.sync(client=client, body=form)
assert isinstance(verbose, VerboseTranscription), verbose
assert isinstance(verbose.segments, list)
assert isinstance(verbose.words, list)
submitted = create_job.sync(client=client, body=CreateJobFilesJobForm(file=open_file()), prefer="wait=30")
assert isinstance(submitted, JobBody), submitted
job = read_one_job.sync(submitted.id, client=client)
assert isinstance(job, JobBody), job
assert job.transcript is not None
told = {
    "task": verbose.task,
    "segments": len(verbose.segments),
    "words": len(verbose.words),
    "text": verbose.text,
    "job": job.transcript.text,
}
print(json.dumps(told))
"""

TYPESCRIPT = {
    "compilerOptions": {
        "strict": True,
        "target": "es2022",
        "lib": ["es2023", "dom", "dom.iterable"],
        "module": "nodenext",
        "outDir": "built",
        "types": ["node"],
    },
    "files": ["driver.ts"],
}


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run a program to its end, which must be a success, and return its output."""
    ended = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture(scope="module")
def server(make_lasting_server: Callable[..., RealServer]) -> RealServer:
    """A server with the scripted engine."""
    return make_lasting_server().start()


@pytest.fixture
def document(server: RealServer, tmp_path: Path) -> Path:
    """The file with the server's description of itself."""
    path = tmp_path / "openapi.json"
    path.write_text(server.client.get("/openapi.json").text)
    return path


def check_told(told: dict[str, Any], text: str) -> None:
    """Check what a driver says of its transcripts."""
    assert (told["task"], told["text"].strip(), told["job"]) == ("transcribe", text, text)
    assert told["segments"] > 0
    assert told["words"] == len(text.split())


def test_the_description_is_valid(document: Path, tmp_path: Path) -> None:
    run(find_python("generators"), "-m", "openapi_spec_validator", document, folder=tmp_path)


@pytest.mark.full
def test_a_generated_python_client_transcribes(
    server: RealServer, document: Path, tones: Path, tones_text: str, tmp_path: Path
) -> None:
    python = Path(find_python("generators"))
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"

    said = run(
        *(python.with_name("openapi-python-client"), "generate", "--path", document),
        *("--output-path", "generated", "--meta", "none", "--fail-on-warning"),
        folder=tmp_path,
        PATH=path,
    )
    assert "warning" not in said.lower()
    (tmp_path / "driver.py").write_text(PYTHON_DRIVER)
    # The generator's own template for this module has errors; it does not depend on the description.
    (tmp_path / "mypy.ini").write_text("[mypy]\n[mypy-generated.client]\nignore_errors = True\n")
    run(python, "-m", "mypy", "driver.py", "generated", folder=tmp_path)

    check_told(json.loads(run(python, "driver.py", server.base_url, tones, folder=tmp_path)), tones_text)


@pytest.mark.full
def test_a_generated_typescript_client_transcribes(
    server: RealServer, document: Path, tones: Path, tones_text: str, tmp_path: Path
) -> None:
    node, modules = find_node(), NODE_FOLDER / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "tsconfig.json").write_text(json.dumps(TYPESCRIPT))
    shutil.copy(DRIVERS / "generated_driver.ts", tmp_path / "driver.ts")

    generate = modules / "@hey-api" / "openapi-ts" / "bin" / "run.js"
    extensions = tmp_path / "openapi-ts.config.js"
    extensions.write_text(
        "export default {input: 'openapi.json', plugins: ['@hey-api/client-fetch'],"
        " output: {path: 'generated', module: {extension: '.js'}}}"
    )
    run(node, generate, folder=tmp_path)
    run(node, modules / "typescript" / "bin" / "tsc", folder=tmp_path)

    told = run(node, "built/driver.js", server.base_url, tones, folder=tmp_path)
    check_told(json.loads(told), tones_text)
