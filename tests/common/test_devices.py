"""Free memory, under the limits of containers and of the shell."""

import subprocess
import sys

import pytest
import torch
from import_closure import ROOT

from facegan.common import devices
from facegan.common.devices import free_memory

GIGABYTE = 1 << 30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system with 64 GB of free memory and no limits."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {64 * GIGABYTE // 1024} kB\n")
    monkeypatch.setattr(devices, "MEMORY_FILE", tmp_path / "meminfo")
    monkeypatch.setattr(devices, "CGROUP_FILE", tmp_path / "cgroup")
    monkeypatch.setattr(devices, "CGROUPS", tmp_path / "groups")
    return tmp_path


def write_group(folder, version_2, limit, usage):
    folder.mkdir(parents=True, exist_ok=True)
    limit_name, usage_name = ("memory.max", "memory.current") if version_2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / usage_name).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {GIGABYTE}\n")


def test_without_limits_it_is_what_the_system_reports(system):
    assert free_memory(torch.device("cpu")) == 64 * GIGABYTE


@pytest.mark.parametrize(
    ("cgroup", "folder", "version_2"),
    [
        ("0::/job/step\n", "groups/job/step", True),
        ("0::/job/step\n", "groups/job", True),  # a limit of the parent
        ("0::/outside\n", "groups", True),  # a container, whose group is mounted as the root
        ("9:cpu:/x\n4:memory:/docker/1\n", "groups/memory/docker/1", False),
        ("4:memory:/docker/1\n", "groups/memory", False),
    ],
)
def test_limits_of_containers_and_jobs_are_read(system, cgroup, folder, version_2):
    (system / "cgroup").write_text(cgroup)
    write_group(system / folder, version_2, 8 * GIGABYTE, 3 * GIGABYTE)
    assert free_memory(torch.device("cpu")) == 6 * GIGABYTE
    write_group(system / folder, version_2, "max" if version_2 else 2**63 - 4096, 3 * GIGABYTE)
    assert free_memory(torch.device("cpu")) == 64 * GIGABYTE


def test_the_limit_of_the_shell_is_read():
    code = (
        "import resource, torch; from facegan.common.devices import free_memory; size = 20 << 30;"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size)); print(free_memory(torch.device('cpu')))"
    )
    free = int(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert 0 < free < 20 << 30
