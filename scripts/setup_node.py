"""Install OpenAI's client for Node, which tests use, from its lock: `python -m scripts.setup_node`.

It imports only the standard library, and does nothing if the client already matches the lock. Only tests need
Node.js. Without it or its packages, this prints a line and exits with 0; the tests then skip this client.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys

from scripts.purposes import REPOSITORY
from scripts.setup_venv import report, sole_setup

# Has the prefix of the environments, so git and the linters ignore it.
FOLDER = REPOSITORY / ".venv-openai-node"
STAMP = FOLDER / "openai-node.stamp"
LOCKED = tuple(REPOSITORY / "tests" / "clients" / name for name in ("package.json", "package-lock.json"))
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def is_ready() -> bool:
    """Return whether the client in the lock is installed."""
    return STAMP.exists() and STAMP.read_text() == digest_of_lock()


def digest_of_lock() -> str:
    """Return a digest of the files that decide what is installed."""
    return hashlib.sha256(b"\n".join(file.read_bytes() for file in LOCKED)).hexdigest()


def install(npm: str) -> None:
    """Install the lock with the program `npm`, or print why that failed."""
    report(f"installing {LOCKED[-1].relative_to(REPOSITORY)}")
    FOLDER.mkdir(exist_ok=True)
    STAMP.unlink(missing_ok=True)
    for file in LOCKED:
        shutil.copy(file, FOLDER)
    finished = subprocess.run(
        [npm, *INSTALL], cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if finished.returncode:
        report(f"warning: the client for Node is not available, its tests are skipped\n{finished.stdout}")
    else:
        STAMP.write_text(digest_of_lock())


def main() -> int:
    """Install the client for Node if possible, and return the exit code."""
    npm = shutil.which("npm") if shutil.which("node") else None
    if npm is None:
        report("node and npm are not installed; the tests of OpenAI's client for Node are skipped")
        return 0
    if not is_ready():
        with sole_setup():
            if not is_ready():  # another set-up may have done it
                install(npm)
    return 0


if __name__ == "__main__":
    sys.exit(main())
