"""Freed memory leaves the process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from landscape.compute import freed_memory
from landscape.compute.freed_memory import return_freed_memory


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
def test_blocks_between_others_are_given_back() -> None:
    size = 1 << 16  # entries of 4 bytes: less than what glibc maps on its own once larger blocks were freed
    torch.ones(1 << 22).clone()
    blocks = [torch.ones(size) for _ in range(400)]
    kept = blocks[::20]
    del blocks
    return_freed_memory()
    before = resident()
    more = [torch.ones(size) for _ in range(400)]
    between = more[::20]
    del more
    return_freed_memory()
    assert resident() - before < 400 * size * 4 / 4
    assert all(bool((block == 1).all()) for block in (*kept, *between))


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed_memory, "_trim", lambda: None)
    return_freed_memory()
