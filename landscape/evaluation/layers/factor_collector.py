"""The sums of one batch behind K-FAC factors: products of layers' inputs, and of the gradients in their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.choices import Labels
from landscape.data.batches import Batch
from landscape.evaluation import fisher_labels
from landscape.evaluation.layers.layer_io import LayerCall, LayerCapture
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

STRIP_COLUMNS = 256  # of a Gram matrix at once: only the part on and below the diagonal is multiplied, about half
MIN_STRIPPED_COLUMNS = 512  # below this size launching several products costs more than it saves
PLAIN_SUMS = ("activations", "gradients", "tokens", "coupling")
COUPLED_SUMS = ("coupled_activations", "coupled_gradients")


@dataclass(frozen=True)
class FactorSettings:
    """The settings, besides the objective, that decide the factors."""

    labels: Labels
    draws: int = 1
    seed: int = 0
    coupled: bool = False

    @property
    def sum_names(self) -> tuple[str, ...]:
        """The names of a layer's sums, in order."""
        return (*PLAIN_SUMS, *COUPLED_SUMS) if self.coupled else PLAIN_SUMS


class FactorCollector:
    """Computes one batch's sums for the factors of some layers; `kfac` adds them up over the data.

    `shares` names for a layer the earlier layer that has the same input: their activations are summed once.
    """

    def __init__(self, objective: Objective, layers: Sequence[LinearMap], settings: FactorSettings) -> None:
        self.objective = objective
        self.layers = layers
        self.settings = settings
        self.capture = LayerCapture(objective, layers)
        self.passes = fisher_labels.backward_passes(objective, settings.labels, settings.draws)
        self.shares = shared_inputs(layers, self.capture.run(next(iter(objective.first(1).batches))).calls)
        self.names = [f"{layer.name}/{name}" for layer in layers for name in self._own_sums(layer)]

    def kernel(self, batch: Batch) -> tuple[Tensor, ...]:
        """The batch's sums, in the order of `names`."""
        settings, forward = self.settings, self.capture.run(batch)
        inputs = forward.scored_inputs()
        sums: list[dict[str, Any]] = [self._of_inputs(*pair) for pair in zip(self.layers, inputs, strict=True)]
        totals = fisher_labels.scalars(
            self.objective, forward.output, batch, settings.labels, settings.draws, settings.seed
        )
        for number, total in enumerate(totals):
            gradients = forward.gradients(total, keep_graph=number + 1 < self.passes)
            for own, rows, scored in zip(sums, inputs, forward.scored_gradients(gradients), strict=True):
                self._add(own, rows, scored)
        return tuple(own[name] for layer, own in zip(self.layers, sums, strict=True) for name in self._own_sums(layer))

    def _of_inputs(self, layer: LinearMap, inputs: Tensor) -> dict[str, Any]:
        shared = layer.name in self.shares
        return {
            "activations": None if shared else gram(inputs),
            "tokens": inputs.new_tensor(len(inputs), dtype=torch.float64),
        }

    def _add(self, sums: dict[str, Any], inputs: Tensor, gradients: Tensor) -> None:
        """Adds one backward pass: g g', ||a||^2 ||g||^2, and the coupled sums."""
        a, g = inputs.square().sum(dim=1), gradients.square().sum(dim=1)
        terms: dict[str, Tensor] = {"gradients": gram(gradients), "coupling": (a.double() * g.double()).sum()}
        if self.settings.coupled:
            terms |= {"coupled_activations": gram(inputs, g), "coupled_gradients": gram(gradients, a)}
        for name, value in terms.items():
            sums[name] = sums[name].add_(value) if name in sums else value

    def _own_sums(self, layer: LinearMap) -> list[str]:
        """The sums that a layer does not share with an earlier one, in order."""
        return [name for name in self.settings.sum_names if name != "activations" or layer.name not in self.shares]


def shared_inputs(layers: Sequence[LinearMap], calls: Sequence[Sequence[LayerCall]]) -> dict[str, str]:
    """For each layer that is called on the same tensors as an earlier one, the first such layer; by name.

    `calls` are those of one forward pass, and hold its tensors: the comparison is one of objects, since another tensor
    may come to lie at the same address, and a wrapper tensor has none.
    """
    leaders: list[tuple[str, Sequence[LayerCall]]] = []
    shares = {}
    for layer, own in zip(layers, calls, strict=True):
        leader = next((name for name, others in leaders if _have_same_inputs(own, others)), None)
        if leader is None:
            leaders.append((layer.name, own))
        else:
            shares[layer.name] = leader
    return shares


def gram(rows: Tensor, weights: Tensor | None = None) -> Tensor:
    """rows' diag(weights) rows, `(k, k)`; of large ones only the part on and below the diagonal is computed."""
    left = rows if weights is None else rows * weights[:, None]
    width = rows.shape[1]
    if width < MIN_STRIPPED_COLUMNS:
        return left.T @ rows
    product = rows.new_zeros((width, width))
    for begin in range(0, width, STRIP_COLUMNS):
        end = min(begin + STRIP_COLUMNS, width)
        torch.mm(left[:, begin:end].T, rows[:, :end], out=product[begin:end, :end])
    return product


def _have_same_inputs(one: Sequence[LayerCall], other: Sequence[LayerCall]) -> bool:
    return 0 < len(one) == len(other) and all(a.has_input_of(b) for a, b in zip(one, other, strict=True))
