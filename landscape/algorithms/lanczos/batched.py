"""Many independent Lanczos runs that share each pass over the data: one for every probe and every group of parameters.

A run is full Lanczos without restart, reorthogonalized twice against its whole basis. The vectors of runs on different
groups have no common coordinates and share one vector of length P; the operator is then block-diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.lanczos.basis import ORTHOGONALIZATION_SWEEPS, eigh, require_finite, rounding_floor
from landscape.algorithms.snapshots import buffer
from landscape.compute.inner_products import row_dots
from landscape.compute.shards import by_span, length_here, of_length, whole_length
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator


@dataclass(frozen=True)
class BatchedLanczosState:
    """Runs after some steps: n probes, g groups, at most `steps` products each.

    `basis` `(c, steps + 1, P)` belongs to the c probes from number `first` on, which are iterated now; earlier probes
    are done.
    """

    basis: Tensor = field(metadata=buffer("rows", axis=1))
    first: int
    step: int  # products of the probes that are iterated now
    alpha: np.ndarray  # (n, g, steps), the diagonal of each run's T; NaN beyond its end
    beta: np.ndarray  # (n, g, steps), the off-diagonal of T
    scale: np.ndarray  # (n, g), the largest ||A q|| seen
    products: int  # columns multiplied so far, one for all groups of a probe

    @property
    def rows(self) -> int:
        """Rows of each probe's basis that hold vectors; all of them once every probe is done."""
        return self.basis.shape[1] if self.finished else self.step + 1

    @property
    def finished(self) -> bool:
        """Whether every probe is done."""
        return self.first >= len(self.alpha)

    @property
    def ended(self) -> bool:
        """Whether every run reached an invariant subspace, so that more steps would change nothing."""
        return not _running(np.nan_to_num(self.beta)).any()

    def first_half(self) -> BatchedLanczosState:
        """The runs as they were after half their steps."""
        half = slice(max(1, self.alpha.shape[2] // 2))
        return replace(self, alpha=self.alpha[:, :, half], beta=self.beta[:, :, half])


@dataclass(frozen=True)
class QuadratureRule:
    """Gauss quadrature rules of n probes for one group: nodes ascending, NaN and weight 0 beyond a run's end.

    `nodes`, `weights` and `residuals` are `(n, m)`; a residual is ||A y - theta y|| of the unit Ritz vector y. The
    weights of each probe add to 1 and represent `size` eigenvalues.
    """

    nodes: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray
    size: int

    @property
    def exact(self) -> bool:
        """Whether every run reached an invariant subspace: the rules then hold the whole spectral measures."""
        return bool((np.nan_to_num(self.residuals) == 0).all())


def batched_lanczos(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    *,
    probes: int,
    steps: int,
    probes_per_pass: int,
    seed: int = 0,
    locked: Tensor | None = None,
    resume: BatchedLanczosState | None = None,
) -> Iterator[BatchedLanczosState]:
    """States after each step, until every probe has had `steps` products or its runs reached invariant subspaces.

    `probes_per_pass` probes share a pass, each with `steps + 1` rows of P numbers. The operator has no entries between
    groups. The rows of `locked` `(m, P)`, on each group orthonormal or zero, are projected out of all vectors.
    """
    state = resume or _begin(operator, groups, probes, steps, min(probes_per_pass, probes), seed, locked)
    while not state.finished:
        state = _step(operator, groups, state, seed, locked)
        yield state


def quadrature_rules(state: BatchedLanczosState, groups: Sequence[ParameterGroup]) -> list[QuadratureRule]:
    """The rule of each group, over all probes."""
    return [_rule(state.alpha[:, g], state.beta[:, g], group.size) for g, group in enumerate(groups)]


def _begin(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    probes: int,
    steps: int,
    probes_per_pass: int,
    seed: int,
    locked: Tensor | None,
) -> BatchedLanczosState:
    like = operator.like
    shape = (probes_per_pass, steps + 1, length_here(operator.size))
    basis = torch.empty(shape, dtype=like.dtype, device=like.device)
    alpha, beta = np.full((2, probes, len(groups), steps), np.nan)
    _write_starts(basis, groups, 0, seed, locked)
    return BatchedLanczosState(basis, 0, 0, alpha, beta, np.zeros((probes, len(groups))), 0)


def _write_starts(
    basis: Tensor, groups: Sequence[ParameterGroup], first: int, seed: int, locked: Tensor | None
) -> None:
    """Writes random start vectors, each of unit norm on every group and zero elsewhere."""
    basis[:, 0] = 0
    for row in range(len(basis)):
        start = seeds.normal_vector(whole_length(basis.shape[2]), basis, seed, "probe", first + row)[None]
        for group in groups:
            _orthogonalize(start, start.new_empty((1, 0, start.shape[1])), group, locked)
            if not _free(group, locked):
                continue
            size = float(_norms(start, group)[0])
            for target, piece in zip(pieces(group, basis[row, 0]), pieces(group, start[0]), strict=True):
                target.copy_(piece / size)


def _step(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    state: BatchedLanczosState,
    seed: int,
    locked: Tensor | None,
) -> BatchedLanczosState:
    """One pass over the data: every run that is iterated now gets its next coefficients and its next vector."""
    step, count = state.step, min(len(state.basis), len(state.alpha) - state.first)
    rows = slice(state.first, state.first + count)
    basis = state.basis[:count]
    image = operator.matmat(basis[:, step].T).T.contiguous()
    alpha, beta, scale = state.alpha.copy(), state.beta.copy(), state.scale.copy()
    for g, group in enumerate(groups):
        free = _free(group, locked)
        running = _running(beta[rows, g, :step]) & (free > 0)
        sizes = _norms(image, group)
        scale[rows, g] = np.maximum(scale[rows, g], require_finite(sizes))
        overlap = _orthogonalize(image, basis[:, : step + 1], group, locked)
        left = require_finite(_norms(image, group))  # NaN would read as an invariant subspace
        least = rounding_floor(image.dtype, scale[rows, g])
        spanned = np.full(count, step + 1 >= free)
        ended: np.ndarray = (left <= least) | spanned  # an invariant subspace
        left[ended] = 0.0
        alpha[rows, g, step] = np.where(running, overlap, np.nan)
        beta[rows, g, step] = np.where(running, left, np.nan)
        factor = torch.as_tensor(np.divide(1, left, out=np.zeros_like(left), where=left > 0), dtype=image.dtype)
        for piece in pieces(group, image):
            piece *= factor.to(image.device)[:, None]
    basis[:, step + 1] = image
    products = state.products + count
    state = replace(state, step=step + 1, alpha=alpha, beta=beta, scale=scale, products=products)
    if state.step < alpha.shape[2] and _running(beta[rows, :, : state.step]).any():
        return state
    following = state.first + count
    if following < len(alpha):
        _write_starts(state.basis, groups, following, seed, locked)
    return replace(state, first=following, step=0)


def _running(beta: np.ndarray) -> np.ndarray:
    """Whether each run has not reached an invariant subspace, `(...)` for `(..., steps)`."""
    running: np.ndarray = np.all(beta > 0, axis=-1)
    return running


def _norms(image: Tensor, group: ParameterGroup) -> np.ndarray:
    """The norm of each row on the group, summed in float64."""
    squares = sum(row_dots(piece, piece) for piece in pieces(group, image))
    return torch.sqrt(squares).cpu().numpy()  # type: ignore[arg-type]


def _free(group: ParameterGroup, locked: Tensor | None) -> int:
    """The dimensions of the group without the span of the locked rows."""
    if locked is None:
        return group.size
    return group.size - int((_norms(locked, group) > 1 / 2).sum())  # unit vectors, or zeros


def _orthogonalize(image: Tensor, basis: Tensor, group: ParameterGroup, locked: Tensor | None) -> np.ndarray:
    """Makes each probe's image orthogonal to its own rows on the group, in place; returns its part along the last row.

    "Twice is enough" (Parlett 1980, section 6.9). All probes share the locked rows.
    """
    along = torch.zeros(len(image), dtype=torch.float64, device=image.device)
    for _ in range(ORTHOGONALIZATION_SWEEPS):
        if locked is not None:
            parts = list(zip(group.of(image), group.of(locked), strict=True))
            inside = torch.stack([piece @ rows.T for piece, rows in parts]).sum(dim=0)  # (n, m)
            for piece, rows in parts:
                piece -= inside @ rows
        if not basis.shape[1]:
            continue
        pairs = list(zip(pieces(group, image), pieces(group, basis), strict=True))
        overlaps: Tensor = sum(by_span(_row_overlaps, piece, rows) for piece, rows in pairs)  # type: ignore[assignment, misc]
        for piece, rows in pairs:
            by_span(partial(_subtract, overlaps.to(image.dtype)), piece, rows, writes=True)
        along += overlaps[:, -1, 0]
    return along.cpu().numpy()


def pieces(group: ParameterGroup, tensor: Tensor) -> list[Tensor]:
    """Views of the group's ranges along the last axis of a tensor `(..., P)`; all of it where vectors lie in parts."""
    shards = of_length(tensor.shape[-1])
    if shards is None:
        return group.of(tensor)
    assert group.size == shards.size  # diagonal blocks take whole vectors
    return [tensor]


def _row_overlaps(image: Tensor, basis: Tensor) -> Tensor:
    """The inner products of each row `(n, P)` with its own rows `(n, m, P)`, `(n, m, 1)`."""
    return torch.bmm(basis, image[:, :, None])


def _subtract(overlaps: Tensor, image: Tensor, basis: Tensor) -> None:
    """Takes the parts `(n, m, 1)` along its own rows from each row."""
    image -= torch.bmm(overlaps.transpose(1, 2), basis)[:, 0]


def tridiagonal(alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """T `(m, m)` of one run after m steps."""
    length = int(np.isfinite(alpha).sum())
    between = beta[: max(length - 1, 0)]
    return np.diag(alpha[:length]) + np.diag(between, 1) + np.diag(between, -1)


def _rule(alpha: np.ndarray, beta: np.ndarray, size: int) -> QuadratureRule:
    count, steps = alpha.shape
    nodes, residuals = np.full((2, count, steps), np.nan)
    weights = np.zeros((count, steps))
    for probe in range(count):
        matrix = tridiagonal(alpha[probe], beta[probe])
        length = len(matrix)
        if not length:
            continue
        values, vectors = eigh(matrix)
        nodes[probe, :length] = values
        weights[probe, :length] = vectors[0] ** 2
        residuals[probe, :length] = beta[probe, length - 1] * np.abs(vectors[-1])
    return QuadratureRule(nodes, weights, residuals, size)
