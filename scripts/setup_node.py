"""Install OpenAI's client for Node, which tests drive, from its lock: `python -m scripts.setup_node`.

It runs before anything is installed, so it needs nothing but the standard library, and it does nothing where
the client is already what the lock says. Only tests need Node.js: where it is absent, or its packages cannot
be had, that is said, and the exit code is 0; the tests then leave this client out.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys

from scripts.purposes import REPOSITORY
from scripts.setup_venv import say, sole_setup

# Named as the environments are, and so left alone by git and the linters.
FOLDER = REPOSITORY / ".venv-openai-node"
STAMP = FOLDER / "openai-node.stamp"
LOCKED = tuple(REPOSITORY / "tests" / "clients" / name for name in ("package.json", "package-lock.json"))
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def is_ready() -> bool:
    """Whether the client that the lock names is installed."""
    return STAMP.exists() and STAMP.read_text() == digest_of_lock()


def digest_of_lock() -> str:
    """What the installation depended on, in short."""
    return hashlib.sha256(b"\n".join(file.read_bytes() for file in LOCKED)).hexdigest()


def install(npm: str) -> None:
    """Install what the lock names, by that `npm`, or say what is in the way."""
    say(f"installing {LOCKED[-1].relative_to(REPOSITORY)}")
    FOLDER.mkdir(exist_ok=True)
    STAMP.unlink(missing_ok=True)
    for file in LOCKED:
        shutil.copy(file, FOLDER)
    finished = subprocess.run(
        [npm, *INSTALL], cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if finished.returncode:
        say(f"warning: the client for Node cannot be had, and its tests are left out\n{finished.stdout}")
    else:
        STAMP.write_text(digest_of_lock())


def main() -> int:
    """Make the client for Node ready where that can be done, and return the exit code."""
    npm = shutil.which("npm") if shutil.which("node") else None
    if npm is None:
        say("node and npm are not installed; the tests with OpenAI's client for Node are left out")
        return 0
    if not is_ready():
        with sole_setup():
            if not is_ready():  # by whoever was waited for
                install(npm)
    return 0


if __name__ == "__main__":
    sys.exit(main())
