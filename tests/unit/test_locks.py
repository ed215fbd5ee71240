"""The locks agree with each other and with pyproject.toml, and hold only versions and hashes."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.lock_dependencies import NODE_LOCK
from scripts.purposes import LOCKS_DIR, PURPOSES, REPOSITORY

LOCKS = sorted(LOCKS_DIR.glob("*.txt"))
SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}")
FOR_CUDA = re.compile(r"(nvidia|cuda|triton)\b")


class Pin(NamedTuple):
    """One requirement of a lock."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def read_lock(name: str) -> Iterator[Pin]:
    """Yield the requirements of a lock and of the locks that it includes."""
    text = "\n".join(line for line in (LOCKS_DIR / name).read_text().splitlines() if not is_comment(line))
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("-r "):
            yield from read_lock(line.removeprefix("-r "))
        elif line.strip():
            requirement = Requirement(line.partition(" --hash")[0])
            version = str(requirement.specifier).removeprefix("==")
            hashes = tuple(SHA256.findall(line))
            yield Pin(canonicalize_name(requirement.name), version, str(requirement.marker or ""), hashes)


def is_comment(line: str) -> bool:
    """Return whether pip skips this line."""
    return line.lstrip().startswith("#")


def read_versions(name: str) -> set[tuple[str, str]]:
    """Return the names and versions in a lock."""
    return {(pin.name, pin.version) for pin in read_lock(name)}


def read_names(name: str) -> set[str]:
    """Return the names in a lock."""
    return {pin.name for pin in read_lock(name)}


def read_dependencies() -> list[Requirement]:
    """Return the dependencies in pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_exact_and_hashed(lock: Path) -> None:
    for pin in read_lock(lock.name):
        assert re.fullmatch(r"[0-9][\w.+!]*", pin.version), pin
        assert pin.hashes, pin


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_lock_names_a_package_index(lock: Path) -> None:
    assert not re.search(r"://|--(extra-)?index|--find-links|\bfile:| @ ", lock.read_text())


@pytest.mark.parametrize("purpose", PURPOSES)
def test_every_purpose_has_its_locks(purpose: str) -> None:
    assert all(path.is_file() for path in PURPOSES[purpose].inputs)


@pytest.mark.parametrize(
    ("runs", "developed_with"), [("base.txt", "dev.txt"), ("qwen-cpu.txt", "qwen-dev.txt")]
)
def test_development_has_the_versions_that_run(runs: str, developed_with: str) -> None:
    assert read_versions(runs) <= read_versions(developed_with)


def test_qwen_is_tested_with_the_same_tools_as_the_rest() -> None:
    tools = read_names("qwen-dev.txt") - read_names("qwen-cpu.txt")
    versions = dict(read_versions("dev.txt"))

    assert {(name, versions[name]) for name in tools} <= read_versions("qwen-dev.txt")


@pytest.mark.parametrize(
    "lock", ["base.txt", "dev.txt", "qwen-cpu.txt", "qwen-dev.txt", "qwen-cuda.txt", "qwen-vllm.txt"]
)
def test_a_lock_fulfils_what_the_project_declares(lock: str) -> None:
    pins = {pin.name: pin.version for pin in read_lock(lock)}

    for dependency in read_dependencies():
        assert dependency.specifier.contains(pins[canonicalize_name(dependency.name)]), dependency


@pytest.mark.parametrize("lock", ["base.txt", "dev.txt"])
def test_the_cpu_engine_needs_no_torch(lock: str) -> None:
    assert "torch" not in read_names(lock)


@pytest.mark.parametrize("lock", ["base.txt", "dev.txt", "qwen-cpu.txt", "qwen-dev.txt"])
def test_no_package_for_cuda_is_locked_for_the_cpu(lock: str) -> None:
    assert not [name for name in read_names(lock) if FOR_CUDA.match(name)]


def test_torch_on_linux_is_pinned_to_its_cpu_build() -> None:
    for pin in read_lock("torch-cpu.txt"):
        assert pin.version.endswith("+cpu") == ("linux" in pin.marker), pin


def test_cpu_and_cuda_run_the_same_qwen() -> None:
    cpu, cuda = read_versions("qwen-cpu.txt"), read_versions("qwen-cuda.txt")

    assert {name for name, _ in cpu - cuda} == {"torch"}
    assert {version.removesuffix("+cpu") for name, version in cpu | cuda if name == "torch"} == {"2.13.0"}


def test_vllm_has_its_own_lock_because_it_needs_another_torch() -> None:
    cuda, vllm = dict(read_versions("qwen-cuda.txt")), dict(read_versions("qwen-vllm.txt"))

    assert vllm["vllm"] == "0.14.0"
    assert vllm["torch"] != cuda["torch"]
    for package in ("qwen-asr", "transformers", "accelerate"):
        assert vllm[package] == cuda[package]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert not [extra for extra in project["optional-dependencies"] if "vllm" in extra]


def test_vllm_is_an_extra_of_the_locked_version_of_qwens_package() -> None:
    lines = (LOCKS_DIR / "qwen-vllm.in").read_text().splitlines()
    [asked] = [Requirement(line) for line in lines if line.startswith("qwen-asr")]

    assert asked.extras == {"vllm"}
    assert asked.specifier.contains(dict(read_versions("qwen-vllm.txt"))["qwen-asr"])


def test_the_project_can_be_built_where_vllm_is_installed() -> None:
    version = dict(read_versions("qwen-vllm.txt"))["setuptools"]

    # The first version that reads the licence as pyproject.toml states it.
    assert Version(version) >= Version("77.0.3")


@pytest.mark.parametrize(("lock", "major"), [("openai-newest.txt", 3), ("openai-1.txt", 1)])
def test_there_is_a_new_and_an_old_client_of_openai(lock: str, major: int) -> None:
    assert int(dict(read_versions(lock))["openai"].partition(".")[0]) >= major
    assert major > 1 or dict(read_versions(lock))["openai"].startswith("1.")


def test_the_lock_for_node_has_hashes_and_names_no_registry() -> None:
    text = (REPOSITORY / NODE_LOCK).read_text()
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}

    assert "node_modules/openai" in packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert "resolved" not in text
    assert "://" not in text
