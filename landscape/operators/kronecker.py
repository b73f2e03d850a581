"""Matrices that are Kronecker products by layer, and their inverses: K-FAC and EK-FAC.

Between an eigenbasis U of a layer's G and an eigenbasis V of its A the matrix is diagonal, with the products of both
factors' eigenvalues for K-FAC (Martens and Grosse 2015), and the squared gradients themselves for EK-FAC (George et al.
2018). Its functions are then U (f(values) * (U' W V)) V' for each layer's weight W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import NumericalError
from landscape.network.linear_maps import LinearMap
from landscape.network.space import ParameterSpace
from landscape.operators.base import LinearOperator

COLUMN_BYTES = 64 << 20  # of columns that are rotated together


@dataclass(frozen=True)
class LayerSpectrum:
    """One layer's eigenbases `left` `(p, p)` and `right` `(q, q)`, and the matrix between them, `values` `(p, q)`.

    With the name of a `bias` the layer's matrix has it as its last column, so that q is one more than its inputs.
    """

    layer: LinearMap
    bias: str | None
    left: Tensor
    right: Tensor
    values: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters of the layer's matrix."""
        return (self.layer.parameter, *([self.bias] if self.bias else []))


class KroneckerOperator(LinearOperator):
    """A positive semidefinite matrix of Kronecker products, one for each layer, and `rest` times I elsewhere.

    Parameters that belong to no layer are those of normalizations, embeddings, and whatever else is not linear.
    """

    def __init__(
        self, space: ParameterSpace, like: Tensor, spectra: Sequence[LayerSpectrum], rest: float = 0.0
    ) -> None:
        self.size, self.like, self.space, self.spectra, self.rest = space.size, like, space, tuple(spectra), rest
        ends = torch.tensor([block.size for block in space.blocks]).cumsum(0).tolist()
        self._ranges = {b.name: slice(end - b.size, end) for b, end in zip(space.blocks, ends, strict=True)}

    @property
    def covered(self) -> Tensor:
        """The mask `(P,)` of the parameters of layers."""
        names = {name for one in self.spectra for name in one.names}
        return torch.cat([torch.full((block.size,), block.name in names) for block in self.space.blocks])

    @property
    def mean_eigenvalue(self) -> float:
        """The mean eigenvalue over the parameters of layers."""
        total = sum(float(one.values.sum()) for one in self.spectra)
        return total / sum(one.values.numel() for one in self.spectra)

    def matmat(self, block: Tensor) -> Tensor:
        """The product `(P, K)`."""
        return self._apply(block, lambda values: values, self.rest)

    @property
    def layer_means(self) -> list[float]:
        """The mean eigenvalue of each layer."""
        return [float(one.values.mean()) for one in self.spectra]

    def inverse(self, damping: float | Sequence[float], rest: float | None = None) -> KroneckerOperator:
        """(A + damping I)^-1, whose part outside layers is `rest` times I, by default the inverse there.

        The damping is one number, or one for each layer; outside layers it is then 0. Raises NumericalError where an
        eigenvalue is 0 and the damping is 0.
        """
        of_layers = self._by_layer(damping)
        shifted = [one.values + shift for one, shift in zip(self.spectra, of_layers, strict=True)]
        outside = self.rest + (damping if isinstance(damping, float) else 0.0)
        if not all(bool((values > 0).all()) for values in shifted) or (rest is None and outside <= 0):
            raise NumericalError(f"the Kronecker factors are singular with damping {damping}", fix="a positive damping")
        spectra = [
            LayerSpectrum(one.layer, one.bias, one.left, one.right, 1 / values)
            for one, values in zip(self.spectra, shifted, strict=True)
        ]
        return KroneckerOperator(self.space, self.like, spectra, 1 / outside if rest is None else rest)

    def inverse_quadratics(self, rows: Tensor, dampings: Sequence[float | Sequence[float]]) -> Tensor:
        """v' (A + damping I)^-1 v on the layers' parameters, of rows v `(K, P)` at M dampings: `(K, M)`, float64."""
        found = torch.zeros((len(rows), len(dampings)), dtype=torch.float64, device=rows.device)
        shifts = zip(*(self._by_layer(damping) for damping in dampings), strict=True)
        for one, of_layer in zip(self.spectra, shifts, strict=True):
            left, right = one.left.to(rows), one.right.to(rows)
            squares = (left.T @ self._matrix(one, rows) @ right).double().square_().flatten(1)
            weights = torch.stack([1 / (one.values.to(squares).flatten() + shift) for shift in of_layer], dim=1)
            found += squares @ weights
        return found

    def damping_diagonal(self, damping: float | Sequence[float]) -> Tensor:
        """The damping of each parameter `(P,)`; 0 outside layers where each layer has its own."""
        diagonal = self.like.new_full((self.size,), damping if isinstance(damping, float) else 0.0)
        for one, shift in zip(self.spectra, self._by_layer(damping), strict=True):
            for name in one.names:
                diagonal[self._ranges[name]] = shift
        return diagonal

    def _by_layer(self, damping: float | Sequence[float]) -> list[float]:
        return [damping] * len(self.spectra) if isinstance(damping, float) else list(damping)

    def _apply(self, block: Tensor, function: Callable[[Tensor], Tensor], rest: float) -> Tensor:
        product = block * rest
        step = max(1, COLUMN_BYTES // max(block[:, :1].nbytes, 1))
        for one in self.spectra:
            values = function(one.values).to(block)
            left, right = one.left.to(block), one.right.to(block)
            for first in range(0, block.shape[1], step):
                columns = slice(first, first + step)
                matrix = self._matrix(one, block[:, columns].T)
                self._write(one, left @ (values * (left.T @ matrix @ right)) @ right.T, product.T[columns])
        return product

    def _matrix(self, one: LayerSpectrum, rows: Tensor) -> Tensor:
        """The layer's part of rows `(K, P)` as matrices `(K, p, q)`."""
        weight = rows[:, self._ranges[one.layer.parameter]]
        shape = next(block.shape for block in self.space.blocks if block.name == one.layer.parameter)
        parts = [torch.stack([one.layer.matrix(each.reshape(shape)) for each in weight])]
        if one.bias:
            parts.append(rows[:, self._ranges[one.bias]][..., None])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def _write(self, one: LayerSpectrum, matrices: Tensor, rows: Tensor) -> None:
        """Puts matrices `(K, p, q)` into the layer's part of rows `(K, P)`."""
        weights = matrices[:, :, : one.layer.inputs]
        flat = torch.stack([one.layer.weight(each).reshape(-1) for each in weights])
        rows[:, self._ranges[one.layer.parameter]] = flat
        if one.bias:
            rows[:, self._ranges[one.bias]] = matrices[:, :, -1]
