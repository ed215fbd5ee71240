"""Dockerfiles as tests read them: instructions and their arguments."""

import re
from collections.abc import Iterator

from scripts.setup_venv import REPOSITORY


def read_instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (REPOSITORY / dockerfile).read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, arguments = line.partition(" ")
            yield name, arguments.strip()


def find_arguments(dockerfile: str, instruction: str) -> list[str]:
    """The arguments of each such instruction."""
    return [arguments for name, arguments in read_instructions(dockerfile) if name == instruction]


def read_image_environment(dockerfile: str) -> dict[str, str]:
    """What an image sets by ENV."""
    pairs = " ".join(find_arguments(dockerfile, "ENV")).split()
    return dict(pair.split("=", 1) for pair in pairs)
