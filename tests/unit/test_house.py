"""The rules of the house that linters do not check."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.purposes import REPOSITORY

MAX_FUNCTION_LINES = 50
MAX_MODULE_LINES = 250
PACKAGES = ("api", "cli", "shared", "worker")
DECODERS = {"av", "numpy", "onnxruntime", "soundfile"}
MODEL_CODE = {"ctranslate2", "faster_whisper", "torch", "worker"}

# Names that would tie the tree to one machine or registry. The brackets keep these lines from matching.
FORBIDDEN = re.compile(r"/(?:roo[t]|hom[e]|User[s]|wor[k])/\w|py[p]i\.org|python[h]osted|npm[j]s")
LEFT_OUT = re.compile(r"\.(?!ci$).*|data|build|__pycache__|.*\.egg-info")  # folders that tools fill


def find_modules(*folders: str) -> list[Path]:
    """Return the Python files in `folders` of the repository."""
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def named(path: Path) -> str:
    """Return the path within the repository, as the name of a test case."""
    return path.relative_to(REPOSITORY).as_posix()


def find_texts() -> Iterator[tuple[Path, str]]:
    """Yield all text files of the tree, except those that tools write."""
    for path in REPOSITORY.rglob("*"):
        folders = path.relative_to(REPOSITORY).parts[:-1]
        is_ours = path.name != ".git" and not any(LEFT_OUT.fullmatch(folder) for folder in folders)
        if path.is_file() and is_ours:
            try:
                yield path, path.read_text()
            except UnicodeDecodeError:
                continue


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_of_the_same_name_does_not_hide_a_package(package: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()

    where = subprocess.run(
        [sys.executable, "-c", f"import {package}; print({package}.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    assert Path(where) == REPOSITORY / package / "__init__.py"


def test_the_api_loads_neither_decoder_nor_model_code() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import api.app, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert (DECODERS | MODEL_CODE).isdisjoint(loaded)


@pytest.mark.parametrize("path", find_modules(*PACKAGES, "scripts", "tests"), ids=named)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", find_modules(*PACKAGES, "scripts"), ids=named)
def test_a_module_and_its_functions_are_short(path: Path) -> None:
    source = path.read_text()

    assert len(source.splitlines()) <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


def test_the_tree_names_no_machine_and_no_registry() -> None:
    findings = [
        f"{named(path)}:{number}: {line.strip()[:100]}"
        for path, text in find_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]

    assert findings == []


def test_links_in_the_texts_at_the_root_lead_somewhere() -> None:
    links = [
        (text.name, target)
        for text in REPOSITORY.glob("*.md")
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text.read_text())
    ]

    assert [link for link in links if not (REPOSITORY / link[1]).exists()] == []


def test_the_documentation_explains_each_dependency() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    requirements = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["qwen"]]
    requirements += [name for group in ("test", "lint", "lock") for name in groups[group]]
    page = (REPOSITORY / "docs" / "decisions" / "dependencies.md").read_text()
    explained = set(re.findall(r"[a-z0-9-]+", page))

    assert {Requirement(requirement).name for requirement in requirements} <= explained
