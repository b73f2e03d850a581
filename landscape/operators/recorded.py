"""Products recorded as CUDA graphs: small nets spend their time on launching operations, and a replay launches once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from landscape.batches import Batch
from landscape.operators.graphs import Graph

WARM_UPS = 3  # runs before the recording: libraries allocate their workspaces in the first ones


def recorded(batch: Batch, build: Callable[[Batch], Graph]) -> Graph:
    """The batch's graph on a stream of its own, where its products are recorded, one for each number of columns.

    A backward pass runs on its forward pass' stream, hence both must be the one that is recorded.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        graph = build(batch)
    torch.cuda.current_stream().wait_stream(stream)
    records: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def product(block: Tensor, *, together: int, keep: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
        if block.shape[1] not in records:
            records[block.shape[1]] = _record(graph, block, together, stream)
        program, given, found = records[block.shape[1]]
        given.copy_(block)
        program.replay()
        return found.clone()

    return product


def _record(
    graph: Graph, block: Tensor, together: int, stream: torch.cuda.Stream
) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
    """The program, where its argument must lie, and where its result will."""
    given, program = block.clone(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            graph(given, together=together, keep=True)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(program, stream=stream):
        found = graph(given, together=together, keep=True)
    return program, given, found
