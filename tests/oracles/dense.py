"""The dense Hessian by torch's own functional transforms, and designed symmetric matrices."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacfwd, jvp, vmap
from torch.nn import functional

from landscape.operators import LinearOperator

T = TypeVar("T")


def dense_hessian(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The Hessian `(P, P)` of the mean cross-entropy over all samples, in float64, forward over reverse.

    A few columns at a time, which stay in the caches: 2950 at once take three times as long.
    """
    model = model.double().eval()
    inputs = torch.cat([x for x, _ in batches])
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    targets = torch.cat([y for _, y in batches]).reshape(-1)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    shapes = [p.shape for p in model.parameters() if p.requires_grad]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters() if p.requires_grad])

    def loss(theta: Tensor) -> Tensor:
        parts = torch.split(theta, [shape.numel() for shape in shapes])
        state = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        output = functional_call(model, state, (inputs,))
        return functional.cross_entropy(output.reshape(-1, output.shape[-1]), targets)

    with warnings.catch_warnings():  # torch's first use of forward mode scripts its decompositions, which is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        columns = torch.eye(len(flat), dtype=flat.dtype)
        return vmap(lambda column: jvp(grad(loss), (flat,), (column,))[1], chunk_size=32)(columns).detach()


def symmetric(eigenvalues: Iterable[float], seed: int = 0, dtype: torch.dtype = torch.float64) -> MatrixOperator:
    """An operator with the given spectrum and random eigenvectors."""
    values = torch.tensor(np.array(list(eigenvalues)), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))
    matrix = (basis * values) @ basis.T
    return MatrixOperator(((matrix + matrix.T) / 2).to(dtype))


class MatrixOperator(LinearOperator):
    """A matrix as an operator that counts its products."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.size = len(matrix)
        self.like = matrix[0]
        self.columns = 0

    def matmat(self, block: Tensor) -> Tensor:
        self.columns += block.shape[1]
        return self.matrix @ block


def dense_jacobian(model: nn.Module, inputs: Tensor) -> Tensor:
    """The Jacobian `(N, outputs, P)` of a model's outputs in its parameters, float64, by forward differentiation."""
    model = model.double().eval()
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def output(theta: Tensor) -> Tensor:
        parts = torch.split(theta, [shape.numel() for shape in shapes])
        state = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return functional_call(model, state, (inputs.double(),)).flatten(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return jacfwd(output)(flat).detach()


def last(states: Iterable[T]) -> T:
    """The last of at least one."""
    *_, end = states
    return end
