"""The command line of `qwen3-asr`.

It can run before anything is installed (`python -m cli up` in a checkout), so this module and the first stage
of each command import only the standard library.
"""

import argparse
import sys
from collections.abc import Sequence

from cli.up import command as up


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names and return its exit code; 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="qwen3-asr", description="A self-hosted speech-to-text server.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    up.add_parser(commands)
    return up.run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
