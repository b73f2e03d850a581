"""Another checkpoint whose hidden units are permuted to lie next to those of the measured one."""

from __future__ import annotations

from dataclasses import replace

from landscape.algorithms.matrices.weight_matching import match_units
from landscape.errors import UsageError, listing
from landscape.evaluation.other_checkpoints import OtherCheckpoint
from landscape.network.permutations import PermutationGroup, permutation_groups
from landscape.network.wrappers import first_names

TRACED_SAMPLES = 4  # samples with which the model runs while its units are traced
PERMUTATION_TOLERANCE = 1e-4  # relative: by how much rounding may change the loss of a permuted net


def align(other: OtherCheckpoint) -> tuple[OtherCheckpoint, str]:
    """A copy of `other` with the same function, its units permuted by weight matching, and a note on the permutation.

    Raises UsageError for a model whose units cannot be followed, or of which only some parameters are measured.
    """
    objective = other.objective
    copied = objective.replica(objective.theta.clone())
    if copied is None:
        raise UsageError("--align cannot copy the model", fix="leave --align out")
    groups = permutation_groups(copied.model, next(iter(objective.first(TRACED_SAMPLES).batches)))
    parameters = {name for name, _ in objective.model.named_parameters()}
    permuted_names = {name for group in groups for name, _ in group.places} & parameters
    if missing := sorted(permuted_names - set(objective.space.names)):
        raise UsageError(
            f"--align would permute {listing(missing)}, which are frozen or left out by --params",
            fix="measure all parameters, or leave --align out",
        )
    permuted = match_units(objective.model.state_dict(), other.tensors, groups, permuted_names)
    first = first_names(objective.model)
    tensors = {name: permuted[first.get(name, name)] for name in permuted}
    aligned = replace(other, name=f"{other.name}, aligned", tensors=tensors)
    before, after = other.loss(), aligned.loss()
    if not abs(after - before) <= PERMUTATION_TOLERANCE * abs(before):
        raise UsageError(
            f"--align changes what the model computes: loss {before:.6g} before, {after:.6g} after",
            why="its forward pass treats units of one layer differently",
            fix="leave --align out",
        )
    count, total = (
        sum(_count_relocations(group, other, aligned) for group in groups),
        sum(group.size for group in groups),
    )
    return aligned, f"{other.name} is aligned: {count:,} of {total:,} units change places"


def _count_relocations(group: PermutationGroup, before: OtherCheckpoint, after: OtherCheckpoint) -> int:
    """The number of units of a group whose place holds the weights of another unit afterwards."""
    (name, axis), _ = next(iter(group.places.items()))
    old, new = (
        side.tensors[name].movedim(axis, 0).flatten(1) if side.tensors[name].ndim > 1 else side.tensors[name][:, None]
        for side in (before, after)
    )
    positions = group.places[name, axis][:, 0]
    return int((old[positions] != new[positions]).any(dim=1).sum())
