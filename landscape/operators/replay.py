"""Products of the Hessian as recorded programs: linearized once per batch, or compiled once per shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from landscape import memory
from landscape.batches import Batch, visited
from landscape.errors import TaskError
from landscape.objective import Objective
from landscape.operators.graphs import Graph
from landscape.operators.pullback import NoBatchingError

Program = Callable[..., Tensor]


def linearized(objective: Objective, theta: Tensor, batch: Batch) -> Graph:
    """The derivative of the gradient, traced forward over reverse and replayed (`torch.func.linearize`).

    Raises TaskError for a model with an operation that has no forward rule.
    """
    gradient = torch.func.grad(lambda point: objective.batch_total(point, batch))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's own
            _, push = torch.func.linearize(gradient, theta.detach())
    except Exception as error:  # the tracer fails in many ways
        if isinstance(error, RuntimeError) and memory.exhausted(error):
            raise
        raise TaskError(
            f"the gradient cannot be linearized: {type(error).__name__}: {str(error).splitlines()[0]}",
            why="an operation lacks a forward rule, or depends on values",
            fix="--hvp auto",
        ) from error

    def product(block: Tensor, *, together: int, keep: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
        rows = block.T.contiguous()
        if together == 1:
            return torch.stack([push(row) for row in rows], dim=1)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="There is a performance drop")
                images: Tensor = torch.func.vmap(push, chunk_size=together)(rows)
        except RuntimeError as error:
            if memory.exhausted(error):
                raise
            raise NoBatchingError(str(error)) from error
        return images.T

    return product


class Programs:
    """Compiled products of one shape of batch: a program for each number of columns.

    The whole product is one program, computed anew each time with its operations fused.
    """

    def __init__(self, objective: Objective, theta: Tensor) -> None:
        self.objective = objective
        self.theta = theta
        self._samples = 0  # of a batch for which there are programs
        self._known: dict[int, Program] = {}

    def graph(self, batch: Batch, plain: Callable[[Batch], Graph]) -> Graph:
        """The batch's product; batches of another size than the first one go the plain way."""
        self._samples = self._samples or batch.size

        def product(block: Tensor, *, together: int, keep: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
            if batch.size != self._samples:
                return plain(batch)(block, together=1, keep=False)
            rows, columns = block.T.contiguous(), block.shape[1]
            if columns not in self._known:
                self._known[columns] = self._compiled(batch, rows)
            with torch.no_grad():
                return self._known[columns](self.theta, rows, *visited(batch)).T

        return product

    def _compiled(self, batch: Batch, rows: Tensor) -> Program:
        objective, several = self.objective, len(rows) > 1

        def product(theta: Tensor, rows: Tensor, *tensors: Tensor) -> Tensor:
            each = iter(tensors)
            point = theta.detach().requires_grad_()
            with torch.enable_grad():
                total = objective.batch_total(point, batch.map(lambda _: next(each)))
                (gradient,) = torch.autograd.grad(total, point, create_graph=True)
                vectors = rows if several else rows[0]
                (images,) = torch.autograd.grad(gradient, point, vectors, is_grads_batched=several)
            return images if several else images[None]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own
            traced = make_fx(product)(self.theta, rows, *visited(batch))
            program: Program = torch.compile(traced, dynamic=False, fullgraph=True)
            with torch.no_grad():
                program(self.theta, rows, *visited(batch))  # this is when it is compiled
        return program
