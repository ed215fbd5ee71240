"""The command `qwen3-asr`."""

import sys


def main() -> int:
    """Run the command that the command line names and return its exit code."""
    from cli.up.__main__ import main as run_up  # noqa: PLC0415 - imports take a while

    if sys.argv[1:] != ["up"]:
        print("usage: qwen3-asr up", file=sys.stderr)
        return 2
    return run_up()


if __name__ == "__main__":
    sys.exit(main())
