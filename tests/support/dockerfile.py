"""Dockerfiles as tests read them: the instructions of the image that is built, with their arguments."""

import re
from collections.abc import Iterator

from scripts.purposes import REPOSITORY


def read_instructions(dockerfile: str, **build_arguments: str) -> Iterator[tuple[str, str]]:
    """The instructions that are done, with their arguments, continued lines joined.

    Those of the last stage come after those of the stages that it is built from; others are left out.
    """
    stages: dict[str, list[tuple[str, str]]] = {}
    stage = stages[""] = []  # before the first FROM
    variables: dict[str, str] = {}
    for name, written in _read_lines(dockerfile):
        arguments = written
        if name == "ARG" and stage is stages[""]:
            key, _, default = written.partition("=")
            variables[key] = build_arguments.get(key, default)
        if name == "FROM":
            arguments = re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found.group(1)], written)
            base, _, alias = arguments.partition(" AS ")
            stage = stages[alias or "last"] = [*stages.get(base, [(name, base)])]
        else:
            stage.append((name, arguments))
    yield from stage


def _read_lines(dockerfile: str) -> Iterator[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", (REPOSITORY / dockerfile).read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, arguments = line.partition(" ")
            yield name, arguments.strip()


def find_arguments(dockerfile: str, instruction: str, **build_arguments: str) -> list[str]:
    """The arguments of each such instruction."""
    done = read_instructions(dockerfile, **build_arguments)
    return [arguments for name, arguments in done if name == instruction]


def read_image_environment(dockerfile: str) -> dict[str, str]:
    """What an image sets by ENV."""
    pairs = " ".join(find_arguments(dockerfile, "ENV")).split()
    return dict(pair.split("=", 1) for pair in pairs)
