"""The memory of a machine and of the control groups around a process, as Linux shows it in files."""

from pathlib import Path

import psutil
import pytest

from worker.engines.qwen3.host_memory import HostMemory, read_host_memory

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine that has 1,000 MiB, 600 of them free."""
    write(
        tmp_path,
        "proc/meminfo",
        f"MemTotal: {1000 * 1024} kB\nMemAvailable:  {600 * 1024} kB\nHugePages: 0\n",
    )
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_group(root: Path, folder: str, *, limit: str, used_mib: int, inactive_mib: int) -> None:
    """Write a group of version 2."""
    group = f"sys/fs/cgroup/{folder}"
    write(root, f"{group}/memory.max", f"{limit}\n")
    write(root, f"{group}/memory.current", f"{used_mib * MIB}\n")
    write(root, f"{group}/memory.stat", f"anon 5\ninactive_file {inactive_mib * MIB}\n")


def test_without_a_limit_the_memory_is_that_of_the_machine(root: Path) -> None:
    assert read_host_memory(root) == HostMemory(600 * MIB, 1000 * MIB)


def test_a_system_that_does_not_report_free_memory_has_no_figures(root: Path) -> None:
    write(root, "proc/meminfo", f"MemTotal: {1000 * 1024} kB\n")

    assert read_host_memory(root) is None


def test_a_container_has_what_its_limit_leaves(root: Path) -> None:
    write_group(root, "", limit=str(500 * MIB), used_mib=200, inactive_mib=50)

    assert read_host_memory(root) == HostMemory(350 * MIB, 500 * MIB)


def test_the_lowest_limit_of_all_groups_around_a_process_counts(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/system.slice/server.service\n")
    write_group(root, "system.slice", limit=str(300 * MIB), used_mib=200, inactive_mib=0)
    write_group(root, "system.slice/server.service", limit="max", used_mib=100, inactive_mib=0)

    assert read_host_memory(root) == HostMemory(100 * MIB, 300 * MIB)


@pytest.mark.parametrize("is_visible", [True, False])
def test_groups_of_version_1_count_too_also_under_a_path_of_the_host(root: Path, *, is_visible: bool) -> None:
    write(root, "proc/self/cgroup", "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/docker/1f\n")
    group = "sys/fs/cgroup/memory/docker/1f" if is_visible else "sys/fs/cgroup/memory"
    write(root, f"{group}/memory.limit_in_bytes", f"{400 * MIB}\n")
    write(root, f"{group}/memory.usage_in_bytes", f"{500 * MIB}\n")
    write(root, f"{group}/memory.stat", f"inactive_file 1\ntotal_inactive_file {120 * MIB}\n")

    assert read_host_memory(root) == HostMemory(20 * MIB, 400 * MIB)


def test_a_group_that_is_full_has_nothing_free(root: Path) -> None:
    write_group(root, "", limit=str(500 * MIB), used_mib=501, inactive_mib=0)

    assert read_host_memory(root) == HostMemory(0, 500 * MIB)


def test_other_systems_have_no_figures(tmp_path: Path) -> None:
    assert read_host_memory(tmp_path) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the machine is not Linux")
def test_this_machine_has_memory() -> None:
    memory = read_host_memory()

    assert memory is not None
    assert 0 < memory.free_bytes <= memory.total_bytes <= psutil.virtual_memory().total
