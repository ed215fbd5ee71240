"""The command line of `qwen3-asr`. It has one command, `up`, in two stages.

The first stage sets up the environment of the engine, and the second runs the server there. The first can run
before anything is installed (`python -m cli up` in a checkout). So it imports only the standard library.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from cli.up.bootstrap import enter_environment, is_checkout

DESCRIPTION = """\
Run the server on this machine until Ctrl-C: its own Redis, a worker and the HTTP api.

In a checkout, the environment of the engine is set up first, and updated when its locks have changed. An
installed package runs in the environment that it is installed in.
"""

EPILOG = """\
Settings come from environment variables. The most used:
  PORT=8100         the port to listen on; 0 takes any free one
  HOST=127.0.0.1    the address to listen on; set API_KEYS before other machines can reach it
  ENGINE=auto       qwen3, qwen3-vllm, whisper, or auto: qwen3 on an NVIDIA GPU, else whisper
  MODEL_ID=NAME     another model, by its name on the hub or its folder
  DATA_DIR=data     the folder for jobs, uploads and model weights
  API_KEYS=         keys that clients must send
  REDIS_URL=        a running Redis or Valkey, instead of a private one
All settings are listed in docs/settings.md.

Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or a bad setting, 3 no CPU build of torch.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names and return its exit code; 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="qwen3-asr", description="A self-hosted speech-to-text server.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    up = commands.add_parser(
        "up",
        help="run the server until Ctrl-C",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    up.add_argument("--torch-index", default="", metavar="URL", help="an index with CPU builds of torch")
    up.add_argument("--no-setup", action="store_true", help="run in this environment as it is")
    return _run_up(parser.parse_args(arguments))


def _run_up(options: argparse.Namespace) -> int:
    """Run the server and return its exit code, or become it in the environment that the engine needs."""
    if is_checkout() and not options.no_setup and (failure := enter_environment(options.torch_index)):
        return failure
    # The imports below take a while and nothing runs yet, so Ctrl-C ends this process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.up.composition import run_local_server  # noqa: PLC0415 - needs the environment

    return run_local_server()


if __name__ == "__main__":
    sys.exit(main())
