"""The operations and the memory of one sample's gradient and product, counted on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape import operators
from landscape.choices import OperatorName
from landscape.data.trees import dense_leaves
from landscape.planning.live_bytes import INSIDE, LiveBytes, Part, Shapes
from landscape.planning.meta_objective import META, MetaObjective

FEW_BLOCKS = 3  # through which costs are counted; those of further blocks are the same


@dataclass(frozen=True)
class PassSizes:
    """What a pass over one sample takes: operations, and bytes beside theta.

    `vectors` are those over the parameters at their peak, `inside` the parts of the graph of the sample at theirs.
    """

    operations: float
    vectors: int
    inside: Mapping[Part, int]

    @property
    def graph(self) -> int:
        """The bytes of the graph of one sample."""
        return sum(self.inside.values())


def gradient_sizes(objective: MetaObjective) -> PassSizes:
    """The sizes of the gradient of one sample."""
    return _count(objective, lambda: objective.batch_gradient(objective.theta, objective.sample))


def product_sizes(objective: MetaObjective, name: OperatorName) -> PassSizes:
    """The sizes of the product of one column with the matrix of one sample."""
    if objective.settings.hvp == "difference":  # a gradient at either side, beside a move and another gradient
        side = gradient_sizes(objective)
        return replace(side, operations=2 * side.operations, vectors=side.vectors + 2 * objective.theta.nbytes)
    of_hessian = name in ("preconditioned", "pyhessian")
    matrix = operators.operator("hessian" if of_hessian else name, objective)
    graph: Any = matrix.graph  # type: ignore[attr-defined]  # a sum over samples has one
    column = torch.empty((objective.space.size, 1), dtype=objective.dtype, device=META)
    return _count(objective, lambda: graph(objective.sample)(column, chunk_size=1, retain_graph=False), column)


def longest_list(model: nn.Module) -> nn.ModuleList | None:
    """The list of modules of one class with the most parameters, as transformers have; None without such a list."""
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) > 1]
    alike = [part for part in lists if len({type(module) for module in part}) == 1]
    return max(alike, key=lambda part: sum(p.numel() for p in part.parameters()), default=None)


def block_bytes(objective: MetaObjective) -> int:
    """The bytes of the parameters of one of the model's blocks; of all of them in a model without blocks."""
    longest = longest_list(objective.model)
    parameters = objective.model.parameters() if longest is None else longest[0].parameters()
    return sum(parameter.numel() for parameter in parameters) * objective.theta.itemsize


def extrapolate_sizes(fewer: PassSizes, more: PassSizes, blocks: int, size: int, sizes: tuple[int, int]) -> PassSizes:
    """The sizes of a pass through so many blocks, from those through `FEW_BLOCKS` and through one more.

    `sizes` are the numbers of parameters of the two, `size` is that of the whole model.
    """
    beyond = blocks - FEW_BLOCKS
    parts: tuple[Part, ...] = INSIDE
    inside = {part: fewer.inside[part] + beyond * (more.inside[part] - fewer.inside[part]) for part in parts}
    return PassSizes(
        fewer.operations + beyond * (more.operations - fewer.operations),
        round(more.vectors / sizes[1] * size),
        {part: max(number, 0) for part, number in inside.items()},
    )


@contextmanager
def cut_blocks(blocks: nn.ModuleList, count: int) -> Iterator[None]:
    """The block in which a list of modules ends after so many."""
    whole = dict(blocks._modules)
    for name in list(whole)[count:]:
        del blocks._modules[name]
    try:
        yield
    finally:
        blocks._modules.clear()
        blocks._modules.update(whole)


def _count(objective: MetaObjective, work: Callable[[], Any], *known: Tensor) -> PassSizes:
    """The operations, and the bytes at their peak, of work with one sample."""
    batch = objective.sample
    before = (*objective.tensors(), *dense_leaves((batch.inputs, batch.targets)), *known)
    shapes = Shapes(
        frozenset(block.shape for block in objective.space.blocks),
        objective.space.size,
        objective.outputs_width,
        _length(batch.inputs),
    )
    with LiveBytes(shapes.part, before) as live:
        work()
    return PassSizes(live.operations, live.vectors_peak, live.inside)


def _length(inputs: Any) -> int:
    """The length of the sequences among the inputs: of integers in rows."""
    tokens = [tensor for tensor in dense_leaves(inputs) if tensor.ndim == 2 and not tensor.is_floating_point()]
    return tokens[0].shape[1] if tokens else 0
