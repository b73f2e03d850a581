"""Another checkpoint with its hidden units permuted to lie next to the measured one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.errors import UsageError, listing

if TYPE_CHECKING:
    from landscape.evaluation.other_checkpoints import OtherCheckpoint
    from landscape.network.permutations import PermutationGroup

SAMPLES = 4  # that are followed through the model
SAME = 1e-4  # relative: what rounding may make of the loss of a permuted net


def align(other: OtherCheckpoint) -> OtherCheckpoint:
    """The same function with its units in another order: a copy of `other`, by weight matching.

    Raises UsageError for a model whose units cannot be followed, or of which only some parameters are measured.
    """
    from dataclasses import replace

    from landscape.algorithms.matrices.alignment import match_units
    from landscape.network import permutations
    from landscape.network.wrappers import first_names

    objective = other.objective
    copied = objective.replica(objective.theta.clone())
    if copied is None:
        raise UsageError("--align cannot copy the model", fix="leave --align out")
    groups = permutations.permutation_groups(copied.model, next(iter(objective.first(SAMPLES).batches)))
    parameters = {name for name, _ in objective.model.named_parameters()}
    moved = {name for group in groups for name, _ in group.places} & parameters
    if missing := sorted(moved - set(objective.space.names)):
        raise UsageError(
            f"--align would permute {listing(missing)}, which are frozen or left out by --params",
            fix="measure all parameters, or leave --align out",
        )
    permuted = match_units(objective.model.state_dict(), other.tensors, groups, moved)
    first = first_names(objective.model)
    tensors = {name: permuted[first.get(name, name)] for name in permuted}
    found = replace(other, name=f"{other.name}, aligned", tensors=tensors)
    before, after = other.loss(), found.loss()
    if not abs(after - before) <= SAME * abs(before):
        raise UsageError(
            f"--align changes what the model computes: loss {before:.6g} before, {after:.6g} after",
            why="its forward pass treats units of one layer differently",
            fix="leave --align out",
        )
    count, every = sum(_moved(group, other, found) for group in groups), sum(group.size for group in groups)
    objective.notes.append(f"{other.name} is aligned: {count:,} of {every:,} units change places")
    return found


def _moved(group: PermutationGroup, before: OtherCheckpoint, after: OtherCheckpoint) -> int:
    """How many units of a group have another one's weights."""
    (name, axis), _ = next(iter(group.places.items()))
    old, new = (
        side.tensors[name].movedim(axis, 0).flatten(1) if side.tensors[name].ndim > 1 else side.tensors[name][:, None]
        for side in (before, after)
    )
    positions = group.places[name, axis][:, 0]
    return int((old[positions] != new[positions]).any(dim=1).sum())
