"""Permutations of hidden units that bring one net's weights close to another's: weight matching.

Ainsworth, Hayase and Srinivasa 2023 (Git Re-Basin), algorithm 1: coordinate ascent of <theta_a, P theta_b> over the
groups of units, where each step is a linear assignment that is solved exactly.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape import seeds
from landscape.network.permutations import PermutationGroup

MAX_SWEEPS = 100  # far more than the few after which nothing changes
RANDOM_STARTS = 10  # on 60 pairs of small nets they raised the number of optima found from 32 to 55
MAX_UNITS_OF_RANDOM_STARTS = 512  # of a group: larger assignments take more than some hundredths of a second
WeightTensors = Mapping[str, Tensor]


def match_units(
    here: WeightTensors, there: WeightTensors, groups: Sequence[PermutationGroup], weights: Container[str]
) -> dict[str, Tensor]:
    """The tensors of `there`, with units permuted so that its `weights` are close to those of `here`.

    Several starts are tried: the units in their order, a first sweep, and random orders if groups are small. The first
    sweep matches group after group by the weights between it and the groups that are matched already, which undoes any
    permutation of the same net. The best result is a local optimum.
    """
    matching = _Matching(here, groups, weights)
    starts = [dict(there), matching.first_sweep(there)]
    if max((group.size for group in groups), default=0) <= MAX_UNITS_OF_RANDOM_STARTS:
        starts += [_shuffle(there, groups, draw) for draw in range(RANDOM_STARTS)]
    return max((matching.ascend(start) for start in starts), key=matching.nearness)


def permute_units(tensors: WeightTensors, group: PermutationGroup, order: Tensor) -> dict[str, Tensor]:
    """The tensors with unit i of the group replaced by unit `order[i]`, wherever it occurs."""
    changed = dict(tensors)
    for (name, axis), positions in group.places.items():
        index = torch.arange(changed[name].shape[axis])
        index[positions.reshape(-1)] = positions[order].reshape(-1)
        changed[name] = changed[name].index_select(axis, index.to(changed[name].device))
    return changed


def _shuffle(tensors: WeightTensors, groups: Sequence[PermutationGroup], draw: int) -> dict[str, Tensor]:
    """The same net with the units of every group in random order."""
    shuffled = dict(tensors)
    for number, group in enumerate(groups):
        noise = seeds.normal(group.size, torch.zeros(()), draw, "alignment", number)
        shuffled = permute_units(shuffled, group, noise.argsort())
    return shuffled


@dataclass(frozen=True)
class _Matching:
    """The net to match, the groups of units that may be permuted, and the names of the tensors that count."""

    here: WeightTensors
    groups: Sequence[PermutationGroup]
    weights: Container[str]

    def first_sweep(self, there: WeightTensors) -> dict[str, Tensor]:
        """Matches group after group by the weights between it and the groups before it."""
        matched = dict(there)
        for number, group in enumerate(self.groups):
            later = {name for other in self.groups[number + 1 :] for name, _ in other.places}
            earlier = {place for place in group.places if place[0] not in later}
            matched = self._step(matched, group, earlier or set(group.places))
        return matched

    def ascend(self, there: WeightTensors) -> dict[str, Tensor]:
        """Sweeps over the groups until the nets come no closer to each other."""
        best, nearest = dict(there), self.nearness(there)
        for _ in range(MAX_SWEEPS):
            following = best
            for group in self.groups:
                following = self._step(following, group, set(group.places))
            nearness = self.nearness(following)
            if nearness <= nearest:
                break
            best, nearest = following, nearness
        return best

    def nearness(self, there: WeightTensors) -> float:
        """<theta_a, theta_b>, float64."""
        names = sorted({name for group in self.groups for name, _ in group.places if name in self.weights})
        return sum(float(torch.sum(_exact(self.here[name]) * _exact(there[name]))) for name in names)

    def _step(self, there: WeightTensors, group: PermutationGroup, places: set[tuple[str, int]]) -> dict[str, Tensor]:
        """The best assignment of one group's units by the weights at some of its places, all other groups unchanged."""
        from scipy.optimize import linear_sum_assignment

        gain = torch.zeros(group.size, group.size, dtype=torch.float64)
        for name, axis in sorted(place for place in places if place[0] in self.weights):
            left, right = (_rows(side[name], axis, group.places[name, axis]) for side in (self.here, there))
            gain += left @ right.T
        _, chosen = linear_sum_assignment(gain.numpy(), maximize=True)
        return permute_units(there, group, torch.from_numpy(chosen))


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()


def _rows(tensor: Tensor, axis: int, positions: Tensor) -> Tensor:
    """The weights of each unit as a row, float64."""
    along = _exact(tensor).movedim(axis, 0)
    return along.reshape(len(along), -1)[positions].flatten(1)
