"""The steps of the trace estimators: sketch probes, multiply other probes, or sum the diagonal itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.estimators.trace.estimates import xtrace_values
from landscape.algorithms.estimators.trace.schedule import PROBES_PER_PASS, StepName
from landscape.algorithms.estimators.trace.state import TraceState, trace_probe
from landscape.algorithms.lanczos.basis import orthogonalize, require_finite, rounding_floor, unit_vector
from landscape.compute.inner_products import norm, overlaps, row_dots, row_norms
from landscape.compute.shards import by_span
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator


@dataclass(frozen=True)
class TraceProblem:
    """The matrix, the groups of parameters whose blocks are traced as well, the seed of the probes, and how many
    probes outside the sketch share a pass over the data.

    `images` `(P, 8)` are the products with the first sketched probes, where they are known.
    """

    operator: LinearOperator
    groups: Sequence[ParameterGroup]
    seed: int
    width: int = PROBES_PER_PASS
    images: Tensor | None = None


class Step(Protocol):
    """One pass over the data."""

    def __call__(self, problem: TraceProblem, state: TraceState, left: int) -> TraceState:
        """The state after at most `left` more products."""


def add_sketch(problem: TraceProblem, state: TraceState, left: int) -> TraceState:
    """Multiplies eight more probes, or as many as are left; their images join Q, and its new rows are multiplied."""
    operator, groups = problem.operator, problem.groups
    first, rank = state.sketched, state.rank
    count = max(1, min(PROBES_PER_PASS, len(state.basis) - first, operator.size - rank, left // 2))
    for index in range(first, first + count):
        state.probes[index] = trace_probe(operator.size, operator.like, problem.seed, "sketched", index)
    fresh = state.probes[first : first + count]
    known = problem.images if first == 0 and problem.images is not None and problem.images.shape[1] == count else None
    image = _require_finite(operator.matmat(fresh.T) if known is None else known).T.contiguous()
    scale = max(state.scale, float(row_norms(image).max()) / operator.size**0.5)
    least = rounding_floor(image.dtype, scale * operator.size**0.5)
    for row in image.clone():
        orthogonalize(row[None], state.basis[:rank])
        length = require_finite(norm(row))  # NaN would read as an image that lies in Q
        if length > least:  # else the image lies in Q: the range is captured
            state.basis[rank] = row / length
            rank += 1
    added = state.basis[state.rank : rank]
    product = _require_finite(operator.matmat(added.T)).T if len(added) else added
    rows, drawn = state.basis[:rank], state.probes[: first + count]
    projected = np.zeros((rank, rank))
    projected[: state.rank, : state.rank] = state.projected
    projected[:, state.rank :] = _dot(rows, product)
    projected[state.rank :, : state.rank] = projected[: state.rank, state.rank :].T
    projected = (projected + projected.T) / 2
    images = np.zeros((rank, first + count))
    images[: state.rank, :first] = state.images  # the images of earlier probes lie in the earlier rows
    images[:, first:] = _dot(rows, image)
    after = replace(
        state,
        quadratics=np.concatenate([state.quadratics, row_dots(fresh, image).cpu().numpy()]),
        overlaps=np.concatenate([np.hstack([state.overlaps, _dot(rows[: state.rank], fresh)]), _dot(added, drawn)]),
        images=images,
        projected=projected,
        block_sketch=state.block_sketch + _block_sketch(groups, added, product),
        scale=scale,
        products=state.products + count + len(added),
    )
    if after.captured:
        return after
    spread = xtrace_values(after).std(ddof=1) if after.sketched > 1 else 0.0
    return replace(after, history=np.concatenate([state.history, [[after.sketched, spread]]]))


def add_probes(problem: TraceProblem, state: TraceState, left: int) -> TraceState:
    """Multiplies eight more probes, or as many as are left, after Q has been projected out of them."""
    operator, groups = problem.operator, problem.groups
    rows, size = state.basis[: state.rank], operator.size
    first, count = len(state.values), min(problem.width, left)
    probes = [trace_probe(size, operator.like, problem.seed, "other", first + index) for index in range(count)]
    whole = torch.stack(probes) if count > 1 else probes[0][None]
    del probes
    rest = _without(whole, rows)
    image = _require_finite(operator.matmat(rest.T)).T.contiguous()
    curved = row_dots(rest, image)
    lengths = row_dots(rest, rest)
    values = np.trace(state.projected) + ((size - state.rank) * curved / lengths).cpu().numpy()
    image = _without(image, rows)
    blocks = [sum(map(row_dots, g.of(whole), g.of(image))) for g in groups]
    by_group = torch.stack(blocks, dim=1).cpu().numpy() if groups else np.zeros((count, 0))  # type: ignore[arg-type]
    return replace(
        state,
        values=np.concatenate([state.values, values]),
        block_values=np.concatenate([state.block_values, by_group]),
        products=state.products + count,
    )


def sum_diagonal(problem: TraceProblem, state: TraceState, left: int) -> TraceState:
    """Sums the next eight entries of the diagonal: for a small P this takes fewer products than any estimate."""
    operator, groups = problem.operator, problem.groups
    first = state.columns
    count = min(problem.width, operator.size - first, left)
    like = operator.like
    unit = torch.stack([unit_vector(operator.size, like, first + index) for index in range(count)], dim=1)
    entries = row_dots(unit.T, _require_finite(operator.matmat(unit)).T).cpu().numpy()
    diagonal = state.diagonal.copy()
    diagonal[-1] += entries.sum()
    for index, group in enumerate(groups):
        for begin, end in group.ranges:
            diagonal[index] += entries[max(begin - first, 0) : max(end - first, 0)].sum()
    return replace(state, diagonal=diagonal, columns=first + count, products=state.products + count)


TRACE_STEPS: Mapping[StepName, Step] = MappingProxyType(
    {"sketch": add_sketch, "probe": add_probes, "diagonal": sum_diagonal}
)


def _block_sketch(groups: Sequence[ParameterGroup], rows: Tensor, images: Tensor) -> np.ndarray:
    """tr over each group of QQ'A + AQQ', `(g,)`, for rows of Q and their images."""
    pairs = [zip(group.of(rows), group.of(images), strict=True) for group in groups]
    return np.array([float(2 * sum(row_dots(a, b).sum() for a, b in pair)) for pair in pairs])


def _without(vectors: Tensor, rows: Tensor) -> Tensor:
    """The vectors, as rows, without their parts along the orthonormal rows; "twice is enough" (Parlett 1980, 6.9)."""
    for _ in range(2 if len(rows) else 0):
        components, vectors = overlaps(vectors, rows), vectors.clone()
        by_span(partial(_subtract, components), vectors, rows, writes=True)
    return vectors


def _subtract(components: Tensor, vectors: Tensor, rows: Tensor) -> None:
    vectors.sub_(components @ rows)


def _dot(left: Tensor, right: Tensor) -> np.ndarray:
    return overlaps(left, right).double().cpu().numpy()


def _require_finite(image: Tensor) -> Tensor:
    require_finite(norm(image.T))
    return image
