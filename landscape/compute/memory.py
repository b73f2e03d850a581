"""How much memory a device has left, and what running out of it looks like."""

from __future__ import annotations

from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on the device; on the CPU the smaller of the machine's and the cgroup's."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return min(_machine_bytes(), _cgroup_bytes())


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error says that memory ran out, on CUDA or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _machine_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 8 << 30  # no such file outside Linux: assume a small laptop
    kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
    return int(kibibytes) << 10


def _cgroup_bytes() -> int:
    try:
        limit = int((CGROUP / "memory.max").read_text())
        return max(limit - int((CGROUP / "memory.current").read_text()), 0)
    except (OSError, ValueError):  # no cgroup v2, or no limit ("max")
        return 1 << 62
