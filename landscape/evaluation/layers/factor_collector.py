"""The sums of one batch behind K-FAC factors: products of layers' inputs, and of the gradients in their outputs."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial

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


@dataclass(frozen=True)
class FactorSettings:
    """The settings, besides the objective, that decide the factors."""

    labels: Labels
    draws: int = 1
    seed: int = 0
    coupled: bool = False


class FactorCollector:
    """Adds the sums of batches for the factors of some layers to `sums`, one layer after another.

    Only one layer's addition exists at a time. `shares` names for a layer the earlier layer that has the same input:
    their activations are summed once. With `homogeneous` every input has a one behind it, as for a layer whose bias is
    the last column of its weight.
    """

    def __init__(
        self,
        objective: Objective,
        layers: Sequence[LinearMap],
        settings: FactorSettings,
        sums: MutableMapping[str, Tensor],
        *,
        homogeneous: bool = False,
    ) -> None:
        self.objective = objective
        self.homogeneous = homogeneous
        self.layers = layers
        self.settings = settings
        self.sums = sums
        self.capture = LayerCapture(objective, layers)
        self.passes = fisher_labels.backward_passes(objective, settings.labels, settings.draws)
        self.shares = shared_inputs(layers, self.capture.run(next(iter(objective.first(1).batches))).calls)
        self._added: dict[tuple[str, int], int] = {}  # by sum and backward pass: the samples before this one are in it

    def add(self, part: Objective) -> None:
        """Adds the sums of all samples of a part of the data; every rank adds all of them."""
        self._added.clear()
        part.alone().accumulate(self._add_batch)

    def _add_batch(self, batch: Batch) -> Tensor:
        """Adds one batch's sums, and returns the number of its samples.

        A batch on which memory ran out comes again in halves: sums that it was added to before leave it out then.
        """
        settings, forward, end = self.settings, self.capture.run(batch), batch.first + batch.size
        inputs = forward.scored_inputs()
        if self.homogeneous:
            inputs = [torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1) for rows in inputs]
        for layer, rows in zip(self.layers, inputs, strict=True):
            if layer.name not in self.shares:
                self._add(f"{layer.name}/activations", end, 0, partial(gram, rows))
            self._add(f"{layer.name}/tokens", end, 0, partial(rows.new_tensor, len(rows), dtype=torch.float64))
        totals = fisher_labels.scalars(
            self.objective, forward.output, batch, settings.labels, settings.draws, settings.seed
        )
        for number, total in enumerate(totals):
            gradients = forward.gradients(total, keep_graph=number + 1 < self.passes)
            for layer, rows, scored in zip(self.layers, inputs, forward.scored_gradients(gradients), strict=True):
                self._add_gradients(layer.name, end, number, rows, scored)
        return torch.tensor(batch.size, device=self.objective.device)

    def _add_gradients(self, layer: str, end: int, number: int, inputs: Tensor, gradients: Tensor) -> None:
        """Adds one backward pass: g g', ||a||^2 ||g||^2, and the coupled sums."""
        a, g = inputs.square().sum(dim=1), gradients.square().sum(dim=1)
        self._add(f"{layer}/gradients", end, number, partial(gram, gradients))
        self._add(f"{layer}/coupling", end, number, lambda: (a.double() * g.double()).sum())
        if self.settings.coupled:
            self._add(f"{layer}/coupled_activations", end, number, partial(gram, inputs, g))
            self._add(f"{layer}/coupled_gradients", end, number, partial(gram, gradients, a))

    def _add(self, name: str, end: int, number: int, term: Callable[[], Tensor]) -> None:
        """Adds a term of the samples before `end` to a sum, unless they are in it."""
        if self._added.get((name, number), 0) >= end:
            return
        value = term()  # which may not fit into memory; nothing is changed before
        self.sums[name] = self.sums[name].add_(value) if name in self.sums else value
        self._added[name, number] = end


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
