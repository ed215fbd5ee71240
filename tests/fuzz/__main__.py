"""`python -m tests.fuzz`: damage real audio, send it to a separate server, and report the outcomes."""

import argparse
import signal
import sys
from pathlib import Path

from tests.fuzz.run import Plan, fuzz


def parse_arguments() -> argparse.Namespace:
    """Return the options on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to send inputs")
    parser.add_argument(
        "--seed", type=int, default=1, help="the seed that, with a number, determines an input"
    )
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--report", type=Path, help="a file for the table, in Markdown")
    parser.add_argument(
        "--kept-in", type=Path, default=Path("build/fuzz"), help="the folder for inputs that break a rule"
    )
    return parser.parse_args()


def main() -> int:
    """Run, print the table, and return 0 if no rule was broken."""
    # However this ends, the server ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = parse_arguments()
    report = fuzz(Plan(options.seconds, options.seed, options.first, options.kept_in))
    table = report.render()
    print(table)
    if options.report is not None:
        options.report.write_text(f"{table}\n")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
