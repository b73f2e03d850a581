"""Products recorded as CUDA graphs: small nets spend their time launching operations, and a replay launches once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.compute.inner_products import norm
from landscape.data.batches import Batch
from landscape.operators.graphs import Graph

WARM_UP_RUNS = 3  # before the recording: libraries allocate their workspaces in the first runs
REPLAY_TOLERANCE = 1e-3  # largest relative difference of a replay: a GPU may sum in another order
# First torch version whose allocator survives a recording that fails; in older ones the recording seems to continue.
SAFE_RECORDING_TORCH = (2, 12)


@dataclass(frozen=True)
class Recording:
    """A recorded product: the graph, the block that it reads `(P, K)`, and the result that it writes `(P, K)`."""

    graph: torch.cuda.CUDAGraph
    block: Tensor
    result: Tensor

    def replay(self, block: Tensor, device: torch.device) -> Tensor:
        """The product with another block of the same shape."""
        with torch.cuda.device(device):
            self.block.copy_(block)
            self.graph.replay()
            return self.result.clone()


def recording_is_safe() -> bool:
    """Whether this version of torch survives a failed recording, so that one may be tried unasked."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) >= SAFE_RECORDING_TORCH


def record_product(batch: Batch, build: Callable[[Batch], Graph], device: torch.device) -> Graph:
    """The batch's graph on a stream of its own, on which its products are recorded, one for each number of columns.

    A backward pass runs on the stream of its forward pass, so both need the stream that is recorded. The graph raises
    RuntimeError for a product that waits for the device, and for a replay that differs from the product.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with _on_stream(stream, device):
        graph = build(batch)
    recordings: dict[int, Recording] = {}

    def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
        columns = block.shape[1]
        if columns not in recordings:
            recordings[columns] = _record(graph, block, chunk_size, stream, device)
            with _on_stream(stream, device):
                expected = graph(block + 1, chunk_size=chunk_size, retain_graph=True)
            difference = norm(recordings[columns].replay(block + 1, device) - expected)
            if not difference <= REPLAY_TOLERANCE * norm(expected):
                raise RuntimeError("a replay gives another product")
        return recordings[columns].replay(block, device)

    return product


def _record(graph: Graph, block: Tensor, chunk_size: int, stream: torch.cuda.Stream, device: torch.device) -> Recording:
    """Records the product with a block of this shape."""
    argument, program = block.clone(), torch.cuda.CUDAGraph()
    with _on_stream(stream, device):
        for _ in range(WARM_UP_RUNS):
            graph(argument, chunk_size=chunk_size, retain_graph=True)
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode(
            "error"
        )  # a failed recording cannot be undone, so a product that waits fails here
        try:
            graph(argument, chunk_size=chunk_size, retain_graph=True)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        with torch.cuda.graph(program, stream=stream):
            result = graph(argument, chunk_size=chunk_size, retain_graph=True)
    return Recording(program, argument, result)


@contextmanager
def _on_stream(stream: torch.cuda.Stream, device: torch.device) -> Iterator[None]:
    """Runs the block on the stream, ordered after earlier and before later work of the current stream."""
    current = torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.device(device):
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            torch.cuda.set_stream(current)
            current.wait_stream(stream)
