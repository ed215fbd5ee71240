"""`make run`: decide the engine, set up the environment that it needs, and become the server in it.

It runs before anything is installed, so it needs nothing but the standard library; that is also why it looks
at ENGINE and MODEL_ID itself.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from cli.up.engine_choice import choose_engine_for_machine, count_nvidia_devices
from scripts.setup_venv import INTERRUPTED, NO_CPU_TORCH, PURPOSES, REPOSITORY, Purpose, make_ready
from scripts.virtual_environment import VirtualEnvironment

QWEN_ENGINES = ("qwen3", "qwen3-vllm")
DEFAULT_MODEL = "Qwen/Qwen3-ASR-0.6B"
DEFAULT_MODEL_SIZE = "about 2 GB"


def say(line: str) -> None:
    """Print a line for the user."""
    print(line, flush=True)


def decide_engine(asked: str) -> str:
    """What ENGINE=`asked` means on this machine; an engine that is named never becomes another."""
    if asked != "auto":
        return asked
    choice = choose_engine_for_machine()
    say(f"ENGINE=auto is {choice.engine} here: {choice.reason}.")
    return choice.engine


def find_purpose(engine: str) -> Purpose:
    """The environment for `engine`; one that is unknown is refused in the usual one, where all are known."""
    if engine == "qwen3-vllm":
        return PURPOSES["qwen-vllm"]
    if engine != "qwen3":
        return PURPOSES["base"]
    return PURPOSES["qwen-cuda" if count_nvidia_devices() else "qwen-cpu"]


def tell_download(model_id: str) -> str | None:
    """What Qwen's weights cost before the first answer; None where they are in a local folder."""
    if Path(model_id).is_dir():
        return None
    size = DEFAULT_MODEL_SIZE if model_id == DEFAULT_MODEL else "their size is on the model's page"
    return f"The first request downloads the weights of {model_id} ({size}), unless the hub's cache has them."


def set_up(purpose: Purpose, *, torch_index_url: str) -> int:
    """Make the environment ready, and return the exit code."""
    exit_code = make_ready(purpose, VirtualEnvironment(REPOSITORY / purpose.venv), torch_index_url)
    if exit_code == NO_CPU_TORCH:
        say("ENGINE=qwen3 cannot run without it; ENGINE=whisper can.")
    return exit_code


def become_server(purpose: Purpose, engine: str) -> NoReturn:
    """Let the server take the place of this process; it starts all its parts with the Python it runs on."""
    python = VirtualEnvironment(REPOSITORY / purpose.venv).python
    environment = {**os.environ, "ENGINE": engine}
    os.execve(python, [str(python), "-m", "cli.up"], environment)  # noqa: S606 - no shell


def start_server(torch_index_url: str) -> int:
    """Set up what the engine needs and become the server; returns an exit code only if that fails."""
    engine = decide_engine(os.environ.get("ENGINE") or "auto")
    if engine in QWEN_ENGINES and (download := tell_download(os.environ.get("MODEL_ID") or DEFAULT_MODEL)):
        say(download)
    purpose = find_purpose(engine)
    return set_up(purpose, torch_index_url=torch_index_url) or become_server(purpose, engine)


def main() -> int:
    """Start the server that the environment describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-index", default="", metavar="URL", help="an index with CPU builds of torch")
    options = parser.parse_args()
    try:
        return start_server(options.torch_index)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
