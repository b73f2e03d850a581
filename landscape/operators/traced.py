"""Products of the Hessian as traced programs: linearized once per batch, or compiled once per shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from landscape.compute.inner_products import norm
from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch, tensors_in_map_order
from landscape.errors import TaskError
from landscape.objective import Objective
from landscape.operators.graphs import Graph
from landscape.operators.pullback import NoBatchingError

MISSING_FORWARD_RULE = "MseLossBackward"  # torch 2.13 crashes on this node instead of raising an error
TRACE_TOLERANCE = 1e-3  # largest relative difference to the product: rounding is up to 1e-4 (digits-resnet in float32)
Program = Callable[..., Tensor]


def linearize(objective: Objective, theta: Tensor, batch: Batch, plain: Graph) -> Graph:
    """The derivative of the gradient, traced forward over reverse by `torch.func.linearize`.

    Two products of the trace are compared with the product of the `plain` graph. Raises TaskError if they differ, and
    for a model with an operation that has no forward-mode rule.
    """

    def total(point: Tensor) -> Tensor:
        return objective.batch_total(point, batch)

    _require_forward_rules(total, theta)
    # functionalized, because operations in place would write into the trace, which would then be right once only
    gradient = torch.func.functionalize(torch.func.grad(total))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of the tracer
            _, push = torch.func.linearize(gradient, theta.detach())
    except Exception as error:  # the tracer may raise anything
        if is_out_of_memory(error):
            raise
        raise TaskError(
            f"the gradient cannot be linearized: {type(error).__name__}: {str(error).splitlines()[0]}",
            why="an operation lacks a forward rule, or depends on values",
            fix="--hvp auto",
        ) from error

    def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
        rows = block.T.contiguous()
        if chunk_size == 1:
            return torch.stack([push(row) for row in rows], dim=1)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="There is a performance drop")
                images: Tensor = torch.func.vmap(push, chunk_size=chunk_size)(rows)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise NoBatchingError(str(error)) from error
        return images.T

    probe = torch.sin(torch.arange(1.0, len(theta) + 1, dtype=theta.dtype, device=theta.device))[:, None]
    expected = plain(probe, chunk_size=1, retain_graph=False)
    for _ in range(2):
        image = product(probe, chunk_size=1, retain_graph=True)
        if not norm(image - expected) <= TRACE_TOLERANCE * norm(expected):
            raise TaskError(
                "the linearized product is not the Hessian's", why="torch's trace misses something", fix="--hvp auto"
            )
    return product


def _require_forward_rules(total: Callable[[Tensor], Tensor], theta: Tensor) -> None:
    """Raises TaskError for an operation without a forward-mode rule on which torch's tracer crashes."""
    with torch.enable_grad():
        nodes, seen = [total(theta.detach().requires_grad_()).grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        if node.name().startswith(MISSING_FORWARD_RULE):
            raise TaskError(f"the gradient cannot be linearized: {node.name()} has no forward rule", fix="--hvp auto")


def compile_product(objective: Objective, theta: Tensor, batch: Batch) -> Graph:
    """The whole product, forward pass included, as one program with fused operations for this shape of batch.

    A program is compiled at the first product with so many columns, and shared by all operators of the objective.
    """
    shapes = tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors_in_map_order(batch))

    def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
        rows, programs = block.T.contiguous(), objective.strategies.programs
        owners = objective.model, objective.loss, objective.space
        key = *map(id, owners), len(rows), shapes
        if key not in programs:
            programs[key] = _compile(objective, theta, batch, rows), owners  # kept alive, or another could get its id
        with torch.no_grad():
            images: Tensor = programs[key][0](theta, rows, *tensors_in_map_order(batch))
        return images.T

    return product


def _compile(objective: Objective, theta: Tensor, batch: Batch, rows: Tensor) -> Program:
    several = len(rows) > 1

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
        warnings.simplefilter("ignore")  # warnings of the compiler
        traced = make_fx(product)(theta, rows, *tensors_in_map_order(batch))
        program: Program = torch.compile(traced, dynamic=False, fullgraph=True)
        with torch.no_grad():
            program(theta, rows, *tensors_in_map_order(batch))  # compiles it
    return program
