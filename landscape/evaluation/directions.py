"""Directions in parameter space, made comparable between nets by filter normalization.

Each part d_f of a direction is scaled to its weights, d_f <- d_f ||w_f|| / ||d_f||: a net with larger filters would
otherwise seem to have a flatter surface (Li et al. 2018, section 4).
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
from landscape.network.parameter_kinds import ParameterKind
from landscape.network.space import ParameterBlock, ParameterSpace
from landscape.objective import Objective

IGNORABLE_KINDS = ("bias", "norm", "position")  # of parameters, for --ignore; "none" ignores nothing


@dataclass(frozen=True)
class Treatment:
    """How a direction is scaled on one tensor: to the norm of each filter, of the layer or of the tensor.

    `how` is a choice of `--normalize`, with `none` for a tensor that is left as it is, or `ignored` for one that is set
    to 0.
    """

    block: ParameterBlock
    kind: ParameterKind
    how: str

    @property
    def scaled_parts(self) -> int:
        """How many parts are scaled, each to its own norm."""
        if self.how == "filter":
            return len(filter_rows(torch.empty(self.block.shape, device="meta"), self.block.filters))
        return int(self.how in ("layer", "tensor"))


def treatments(objective: Objective, normalize: Normalize, ignore: Iterable[str]) -> tuple[Treatment, ...]:
    """The treatment of each tensor; raises UsageError for a glob that matches nothing, or if no tensor may move.

    `ignore` holds kinds of parameters (`bias`, `norm`, `position`), globs over names, or `none`. Weights and tables of
    tokens have filters; any other tensor is scaled as a whole.
    """
    kinds, names = objective.function.parameter_kinds(), objective.space.names
    words = [word for word in ignore if word != "none"]
    ignored = {name for name in names if kinds[name] in words}
    try:
        ignored |= objective.space.names_matching((word for word in words if word not in IGNORABLE_KINDS), "--ignore")
    except UsageError as error:
        raise UsageError(error.what, fix=f"{', '.join(IGNORABLE_KINDS)}, none, or {error.fix}") from None
    if ignored == set(names):
        raise UsageError("no weight may move: --ignore leaves out all of them", fix="--ignore none")
    return tuple(
        _treatment(block, kinds[block.name], normalize, block.name in ignored) for block in objective.space.blocks
    )


def _treatment(block: ParameterBlock, kind: ParameterKind, normalize: Normalize, ignored: bool) -> Treatment:
    if ignored:
        return Treatment(block, kind, "ignored")
    has_filters = kind in ("weight", "embedding")
    return Treatment(block, kind, "tensor" if normalize == "filter" and not has_filters else normalize)


def gaussian_direction(objective: Objective, treatments: Sequence[Treatment], seed: int, *path: str | int) -> Tensor:
    """A standard normal direction `(P,)` after its treatment; `path` names the random stream."""
    return apply_treatments(seeds.normal(objective.space.size, objective.theta, seed, *path), objective, treatments)


def apply_treatments(direction: Tensor, objective: Objective, treatments: Sequence[Treatment]) -> Tensor:
    """Scales the direction `(P,)` in place, and returns it; parts whose weights are 0 become 0."""
    moves, weights = objective.space.unflatten(direction), objective.space.unflatten(objective.theta)
    for treatment in treatments:
        move, weight = moves[treatment.block.name], weights[treatment.block.name]
        if treatment.how == "ignored":
            move.zero_()
        elif treatment.how == "tensor":
            move.mul_(_norm_ratio(weight, move))
        elif treatment.how == "filter":
            match_filter_norms(move, weight, treatment.block.filters)
    by_layer = {treatment.block.name for treatment in treatments if treatment.how == "layer"}
    _match_layer_norms(objective.space, direction, objective.theta, by_layer)
    return direction


def _match_layer_norms(space: ParameterSpace, direction: Tensor, theta: Tensor, names: set[str]) -> None:
    """Scales the named tensors of each layer together, in place, to the norm of their weights."""
    if not names:
        return
    for group in space.layers():
        moving = ParameterSpace(tuple(b for b in space.blocks if b.name in names and b.name in group.names))
        if not moving.blocks:
            continue
        moves, weights = space.unflatten(direction), space.unflatten(theta)
        ratio = _norm_ratio(moving.flatten(weights), moving.flatten(moves))
        for name in moving.names:
            moves[name].mul_(ratio)


def _norm_ratio(weight: Tensor, move: Tensor) -> Tensor:
    """||weight|| / ||move||, `()`; 0 for a move of 0."""
    size, length = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(move)
    return torch.where(length > 0, size / length, 0.0)


def zero_filter_count(objective: Objective, treatments: Sequence[Treatment]) -> int:
    """How many filters are 0, so that they do not move."""
    weights = objective.space.unflatten(objective.theta)
    rows = (filter_rows(weights[one.block.name], one.block.filters) for one in treatments if one.how == "filter")
    return sum(int((~part.any(dim=1)).sum()) for part in rows)


def rows_without_gradient(objective: Objective) -> dict[str, int]:
    """How many rows of each table of tokens the data do not reach: their gradient is exactly 0."""
    kinds = objective.function.parameter_kinds()
    tables = [block.name for block in objective.space.blocks if kinds[block.name] == "embedding"]
    if not tables:
        return {}
    gradients = objective.space.unflatten(objective.gradient())
    counts = {name: int((~filter_rows(gradients[name], FilterAxis()).any(dim=1)).sum()) for name in tables}
    return {name: count for name, count in counts.items() if count}
