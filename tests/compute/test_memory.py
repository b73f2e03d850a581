"""Free memory by machine, cgroup and process, and the tensors that a forward pass saves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from landscape.compute import memory, memory_limits

CPU = torch.device("cpu")


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory_limits, "CGROUP", tmp_path)
    return tmp_path


def test_the_limit_of_a_container_bounds_the_free_memory(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("5000000\n")
    (cgroup / "memory.current").write_text("2000000\n")
    assert memory.free_bytes(CPU) == 3_000_000


def test_a_container_above_its_limit_has_no_memory_free(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("10")
    (cgroup / "memory.current").write_text("11")
    assert memory.free_bytes(CPU) == 0


@pytest.mark.parametrize("files", [{}, {"memory.max": "max", "memory.current": "12"}], ids=["no cgroup", "no limit"])
def test_without_a_limit_the_machine_s_free_memory_counts(cgroup: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (cgroup / name).write_text(text)
    physical = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert 0 < memory.free_bytes(CPU) <= int(physical.split()[1]) << 10


def test_saved_tensors_are_those_that_the_backward_pass_needs() -> None:
    x, y = torch.ones(3, requires_grad=True), torch.full((3,), 2.0, requires_grad=True)
    visited: list[Tensor] = []
    assert torch.equal(memory.watch_saved_tensors(lambda: x * y, visited.append), x * y)
    assert sorted(tensor.data_ptr() for tensor in visited) == sorted([x.data_ptr(), y.data_ptr()])


def test_where_hooks_are_forbidden_every_result_is_visited() -> None:
    x = torch.arange(1.0, 4.0, requires_grad=True)
    visited: list[int] = []

    def slope() -> Tensor:
        return torch.func.grad(lambda z: (z**3).sum())(x)

    result = memory.watch_saved_tensors(slope, lambda tensor: visited.append(tensor.nbytes))
    assert torch.allclose(result, 3 * x**2)
    assert sum(visited) >= x.nbytes * 2  # z**2 and 3 z**2 at least


def test_other_errors_of_a_watched_pass_are_raised() -> None:
    def fail() -> Tensor:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        memory.watch_saved_tensors(fail, lambda tensor: None)
