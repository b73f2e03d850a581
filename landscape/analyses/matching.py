"""Another checkpoint with its hidden units permuted to lie next to the measured one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.errors import UsageError, listing

if TYPE_CHECKING:
    from landscape.others import Other

SAMPLES = 4  # that are followed through the model
SAME = 1e-4  # relative: what rounding may make of the loss of a permuted net


def aligned(other: Other) -> Other:
    """The same function with its units in another order: a copy of `other`, by weight matching.

    Raises UsageError for a model whose units cannot be followed, or of which only some parameters are measured.
    """
    from dataclasses import replace

    from landscape import permutations
    from landscape.algorithms.alignment import matched
    from landscape.modules import first_names

    objective = other.objective
    copied = objective.replica(objective.theta.clone())
    if copied is None:
        raise UsageError("--align cannot copy the model", fix="leave --align out")
    groups = permutations.groups(copied.model, next(iter(objective.first(SAMPLES).batches)))
    parameters = {name for name, _ in objective.model.named_parameters()}
    moved = {name for group in groups for name, _ in group.places} & parameters
    if missing := sorted(moved - set(objective.space.names)):
        raise UsageError(
            f"--align would permute {listing(missing)}, which are frozen or left out by --params",
            fix="measure all parameters, or leave --align out",
        )
    permuted = matched(objective.model.state_dict(), other.tensors, groups, moved)
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
    objective.notes.append(
        f"{other.name} is aligned: {sum(group.size for group in groups):,} units in {len(groups)} groups"
    )
    return found
