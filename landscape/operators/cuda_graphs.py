"""Products recorded as CUDA graphs: small nets spend their time on launching operations, and a replay launches once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.operators.graphs import Graph

WARM_UPS = 3  # runs before the recording: libraries allocate their workspaces in the first ones
SAME = 1e-3  # relative: sums of a GPU may be taken in another order
SAFE = (2, 12)  # of torch: before, a recording that fails leaves the allocator believing that it goes on


def recording_is_safe() -> bool:
    """Whether a recording may be tried unasked."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) >= SAFE


def record_product(batch: Batch, build: Callable[[Batch], Graph], device: torch.device) -> Graph:
    """The batch's graph on a stream of its own, where its products are recorded, one for each number of columns.

    A backward pass runs on its forward pass' stream, hence both must be the one that is recorded. Raises RuntimeError
    for a product that waits for the device, and if what was recorded is not the product.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with _aside(stream, device):
        graph = build(batch)
    records: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def product(block: Tensor, *, together: int, keep: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
        columns = block.shape[1]
        if columns not in records:
            records[columns] = _record(graph, block, together, stream, device)
            with _aside(stream, device):
                expected = graph(block + 1, together=together, keep=True)
            apart = float((_replayed(records[columns], block + 1, device) - expected).norm())
            if not apart <= SAME * float(expected.norm()):
                raise RuntimeError("a replay gives another product")
        return _replayed(records[columns], block, device)

    return product


def _record(
    graph: Graph, block: Tensor, together: int, stream: torch.cuda.Stream, device: torch.device
) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
    """The program, where its argument must lie, and where its result will."""
    given, program = block.clone(), torch.cuda.CUDAGraph()
    with _aside(stream, device):
        for _ in range(WARM_UPS):
            graph(given, together=together, keep=True)
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")  # a recording that fails cannot be taken back: it fails here
        try:
            graph(given, together=together, keep=True)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        with torch.cuda.graph(program, stream=stream):
            found = graph(given, together=together, keep=True)
    return program, given, found


def _replayed(record: tuple[torch.cuda.CUDAGraph, Tensor, Tensor], block: Tensor, device: torch.device) -> Tensor:
    program, given, found = record
    with torch.cuda.device(device):
        given.copy_(block)
        program.replay()
        return found.clone()


@contextmanager
def _aside(stream: torch.cuda.Stream, device: torch.device) -> Iterator[None]:
    """Work on the stream, between what was and what will be on the current one, which is the current one afterwards."""
    current = torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.device(device):
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            torch.cuda.set_stream(current)
            current.wait_stream(stream)
