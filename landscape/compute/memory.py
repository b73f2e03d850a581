"""The free memory of a device, and the tensors that a forward pass saves.

Which share of the free memory a use may take is in `budget`; errors of memory are in `out_of_memory`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.compute.memory_limits import free_in_cgroup, free_in_process

T = TypeVar("T")
Visit = Callable[[Tensor], None]
_VISITS: list[Visit] = []  # of the passes that are being watched, the innermost last
PLANNED: ContextVar[tuple[int, int] | None] = ContextVar("PLANNED", default=None)


@contextmanager
def memory_of_plan(device_bytes: int, host_bytes: int) -> Iterator[None]:
    """The block in which plans are made for a machine with so much free memory on its devices and on their hosts."""
    token = PLANNED.set((device_bytes, host_bytes))
    try:
        yield
    finally:
        PLANNED.reset(token)


def free_bytes(device: torch.device) -> int:
    """The bytes that can still be allocated on a device; on the CPU by the machine, the cgroups and the process.

    Within `memory_of_plan` they are those of the machine that is planned for.
    """
    if (planned := PLANNED.get()) is not None:
        return planned[device.type == "cpu"]
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return min(_machine_bytes(), free_in_cgroup(), free_in_process())


def count_saved_tensor(tensor: Tensor) -> None:
    """Shows a tensor that a graph holds otherwise than torch does to whoever watches what the pass saves."""
    for visit in _VISITS[-1:]:
        visit(tensor)


def watch_saved_tensors(work: Callable[[], T], visit: Visit) -> T:
    """Runs a forward pass and visits every tensor that autograd saves for the backward pass.

    Transforms of `torch.func` inside the pass forbid the hooks that see saved tensors. The pass is then repeated, and
    the results of all operations are visited instead: an upper bound.
    """

    def pack(tensor: Tensor) -> Tensor:
        """The hook that autograd calls with each tensor that it saves; a result would hold the graph that holds it."""
        visit(tensor)
        return tensor.detach()

    _VISITS.append(visit)
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return work()
    except Exception as error:  # a RuntimeError, or an error of landscape's own that repeats its message
        if "saved tensor hooks" not in str(error):
            raise
    finally:
        _VISITS.pop()
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
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 8 << 30  # no such file outside Linux: assume a small laptop
    kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
    return int(kibibytes) << 10
