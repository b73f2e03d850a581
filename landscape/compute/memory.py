"""The free memory of a device, errors of memory, and the tensors that a forward pass saves.

Which share of the free memory a use may take is in `budget`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")
CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """The bytes that can still be allocated on a device; on the CPU the smaller of the machine's and the cgroup's."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return min(_machine_bytes(), _cgroup_bytes())


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error says that memory ran out, on CUDA or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def watch_saved_tensors(work: Callable[[], T], visit: Callable[[Tensor], None]) -> T:
    """Runs a forward pass and visits every tensor that autograd saves for the backward pass.

    Transforms of `torch.func` inside the pass forbid the hooks that see saved tensors. The pass is then repeated, and
    the results of all operations are visited instead: an upper bound.
    """

    def pack(tensor: Tensor) -> Tensor:
        """The hook that autograd calls with each tensor that it saves."""
        visit(tensor)
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return work()
    except Exception as error:  # a RuntimeError, or an error of landscape's own that repeats its message
        if "saved tensor hooks" not in str(error):
            raise
    with _Results(visit):
        return work()


class _Results(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Visits the results of all operations."""

    def __init__(self, visit: Callable[[Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.visit = visit

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.visit(tensor)
        return result


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
