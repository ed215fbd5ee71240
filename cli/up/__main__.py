"""`python -m cli.up`: starts the local server and stays until it is told to stop."""

import signal
import sys


def main() -> int:
    """Run the local server; returns the exit code."""
    # Nothing runs yet, so an early Ctrl-C may simply end this: the imports below take a while.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.up.composition import run_local_server  # noqa: PLC0415

    return run_local_server()


if __name__ == "__main__":
    sys.exit(main())
