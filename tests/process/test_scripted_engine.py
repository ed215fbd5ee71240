"""Faults of the scripted engine that affect its own process."""

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from scripts.purposes import REPOSITORY

# Loads, prints what is heard of three seconds of silence, and at last that it is done.
PROGRAM = """
import sys
import numpy as np
from shared.jobs import TranscriptionRequest
from worker.audio.windows import cut_fixed_windows
from tests.support.rows import decode_windows
from worker.engines.scripted.engine import ScriptedEngine
from worker.settings import WorkerSettings

class Listener:
    def on_partial(self, window, delta, tail, language):
        print("heard", flush=True)
    def is_stopped(self):
        return False

engine = ScriptedEngine(WorkerSettings(scripted_misbehaviour=sys.argv[1]))
engine.load(lambda phase: print("loading", flush=True))
windows = list(cut_fixed_windows([np.zeros(48_000, np.float32)], 3))
decode_windows(engine, windows, TranscriptionRequest(context=sys.argv[2]), Listener())
print("done")
"""


def run_engine(at_start: str = "none", **context: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, at_start, json.dumps(context)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)


def test_it_dies_while_loading() -> None:
    process = run_engine("die_in_load")

    assert process.communicate()[0].split() == [b"loading"]
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("at", ["start", "request"])
def test_it_dies_in_the_middle_of_a_window(at: str) -> None:
    process = run_engine("die_in_decode") if at == "start" else run_engine(misbehaviour="die_in_decode")

    assert process.communicate()[0].split() == [b"loading", b"heard"]
    assert process.returncode == -signal.SIGKILL


def test_it_hangs_in_the_middle_of_a_window_until_it_is_killed() -> None:
    process = run_engine("hang")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"loading\n", b"heard\n"]
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)

    process.kill()

    assert process.communicate()[0] == b""


def test_it_prints_garbage_and_goes_on() -> None:
    process = run_engine("print_garbage")

    said = process.communicate()[0]

    assert said.count(b"heard") == 3
    assert said.endswith(b"done\n")
    assert said.count(b"garbage") == 1_000
    assert process.returncode == 0
