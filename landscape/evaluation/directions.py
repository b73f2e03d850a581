"""Directions in parameter space, and how they are made comparable between nets: filter normalisation.

A direction d is scaled part by part to the weights, d_f <- d_f ||w_f|| / ||d_f||, so that a net whose filters are
larger is not shown a flatter surface for it (Li et al. 2018, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape import seeds
from landscape.choices import Normalize
from landscape.errors import UsageError
from landscape.network.filters import FilterAxis, filter_rows, match_filter_norms
from landscape.network.parameter_kinds import ParameterKind, parameter_kinds
from landscape.network.space import ParameterBlock, ParameterSpace
from landscape.objective import Objective

IGNORABLE = ("bias", "norm", "position")  # roles that --ignore knows; "none" leaves nothing out


@dataclass(frozen=True)
class Treatment:
    """What is done to a direction on one tensor: normalised by filter, layer or tensor, left as it is, or zeroed."""

    block: ParameterBlock
    role: ParameterKind
    how: str  # a word of Normalise, or "ignored"

    @property
    def filters(self) -> int:
        """How many parts are scaled, each to its own norm."""
        if self.how == "filter":
            return len(filter_rows(torch.empty(self.block.shape, device="meta"), self.block.filters))
        return int(self.how in ("layer", "tensor"))


def treatments(objective: Objective, normalise: Normalize, ignore: Iterable[str]) -> tuple[Treatment, ...]:
    """What is done to each tensor; raises UsageError for a glob that matches nothing, or if nothing is left.

    `ignore` holds roles (`bias`, `norm`, `position`), globs over names, or `none`. Filters exist in weights and tables
    of tokens; whatever else moves is scaled as a whole.
    """
    role_of, names = parameter_kinds(objective.model), objective.space.names
    words = [word for word in ignore if word != "none"]
    ignored = {name for name in names if role_of[name] in words}
    try:
        ignored |= objective.space.names_matching((word for word in words if word not in IGNORABLE), "--ignore")
    except UsageError as error:
        raise UsageError(error.what, fix=f"{', '.join(IGNORABLE)}, none, or {error.fix}") from None
    if ignored == set(names):
        raise UsageError("no weight may move: --ignore leaves out all of them", fix="--ignore none")
    return tuple(
        _treatment(block, role_of[block.name], normalise, block.name in ignored) for block in objective.space.blocks
    )


def _treatment(block: ParameterBlock, role: ParameterKind, normalise: Normalize, ignored: bool) -> Treatment:
    if ignored:
        return Treatment(block, role, "ignored")
    has_filters = role in ("weight", "embedding")
    return Treatment(block, role, "tensor" if normalise == "filter" and not has_filters else normalise)


def gaussian_direction(objective: Objective, done: Sequence[Treatment], seed: int, *path: str | int) -> Tensor:
    """A standard normal direction `(P,)`, treated."""
    return apply_treatments(seeds.normal(objective.space.size, objective.theta, seed, *path), objective, done)


def apply_treatments(direction: Tensor, objective: Objective, done: Sequence[Treatment]) -> Tensor:
    """The direction `(P,)` after its treatment, which is done in place; where the weights are 0 it is 0."""
    moves, weights = objective.space.unflatten(direction), objective.space.unflatten(objective.theta)
    for one in done:
        move, weight = moves[one.block.name], weights[one.block.name]
        if one.how == "ignored":
            move.zero_()
        elif one.how == "tensor":
            move.mul_(_ratio(torch.linalg.vector_norm(weight), torch.linalg.vector_norm(move)))
        elif one.how == "filter":
            match_filter_norms(move, weight, one.block.filters)
    _by_layer(objective.space, direction, objective.theta, {one.block.name for one in done if one.how == "layer"})
    return direction


def _by_layer(space: ParameterSpace, direction: Tensor, theta: Tensor, names: set[str]) -> None:
    if not names:
        return
    for group in space.layers():
        moving = ParameterSpace(tuple(b for b in space.blocks if b.name in names and b.name in group.names))
        if not moving.blocks:
            continue
        moves, weights = space.unflatten(direction), space.unflatten(theta)
        ratio = _ratio(
            torch.linalg.vector_norm(moving.flatten(weights)), torch.linalg.vector_norm(moving.flatten(moves))
        )
        for name in moving.names:
            moves[name].mul_(ratio)


def _ratio(weight: Tensor, move: Tensor) -> Tensor:
    return torch.where(move > 0, weight / move, 0.0)


def zero_filter_count(objective: Objective, done: Sequence[Treatment]) -> int:
    """How many filters are 0, so that they do not move."""
    weights = objective.space.unflatten(objective.theta)
    rows = (filter_rows(weights[one.block.name], one.block.filters) for one in done if one.how == "filter")
    return sum(int((~part.any(dim=1)).sum()) for part in rows)


def rows_without_gradient(objective: Objective) -> dict[str, int]:
    """How many rows of each table of tokens the data do not reach: their gradient is exactly 0."""
    role_of = parameter_kinds(objective.model)
    tables = [block.name for block in objective.space.blocks if role_of[block.name] == "embedding"]
    if not tables:
        return {}
    slopes = objective.space.unflatten(objective.gradient())
    counts = {name: int((~filter_rows(slopes[name], FilterAxis()).any(dim=1)).sum()) for name in tables}
    return {name: count for name, count in counts.items() if count}
