"""Kronecker factors of linear layers (K-FAC): sums over tokens, in one pass over the data, that can be gone on with.

For y = W a and g the slope of a loss in y: A = E a a' and G = E g g', every row of a layer's input a sample
(Martens and Grosse 2015, equation 1; "expand" in Eschenhagen et al. 2023). The curvature of W is about G (x) A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.choices import Labels
from landscape.compute.budget import room
from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.evaluation import fisher_labels
from landscape.evaluation.layers.layer_io import LayerCall, LayerCapture
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

PARTS = 32  # of the data, after each of which the sums can be saved
STRIP = 256  # columns of a Gram matrix at once: only what is on and below the diagonal is multiplied, about half
STRIPPED_FROM = 512  # columns: below it launching four products costs more than it saves
PLACE = "place"  # the entry that says how many parts are done, of how many
SHARES = "shares"  # the entry that names, by its place, the layer with the same input


@dataclass(frozen=True)
class Factor:
    """Sums over a layer's tokens, of which there are `tokens`.

    `activations` `(q, q)` and `gradients` `(p, p)` are sums of a a' and g g'; `coupling` is the sum of ||a||^2 ||g||^2.
    The coupled ones weigh each a a' by ||g||^2 and each g g' by ||a||^2: in any basis their diagonals are the column
    and row sums of the curvature's own diagonal there (George et al. 2018, EK-FAC).
    """

    activations: Tensor
    gradients: Tensor
    tokens: Tensor
    coupling: Tensor
    coupled_activations: Tensor | None = None
    coupled_gradients: Tensor | None = None

    @property
    def a(self) -> Tensor:
        """A `(q, q)`, float64."""
        return _whole(self.activations) / max(float(self.tokens), 1.0)

    @property
    def g(self) -> Tensor:
        """G `(p, p)`, float64."""
        return _whole(self.gradients) / max(float(self.tokens), 1.0)

    @property
    def coupled_factors(self) -> tuple[Tensor, Tensor]:
        """The coupled pair (A, G), float64, scaled so that tr A = 1 and tr G = E ||a||^2 ||g||^2."""
        if self.coupled_activations is None or self.coupled_gradients is None:
            raise TaskError("these factors have no coupled sums", fix="collect them with coupled=True")
        total = float(self.coupling)
        weighed = _whole(self.coupled_activations)
        return weighed / total if total else weighed, _whole(self.coupled_gradients) / max(float(self.tokens), 1.0)

    @property
    def independence(self) -> float:
        """tr A tr G / E ||a||^2 ||g||^2: 1 where activations and slopes are as large independently of each other."""
        joint = float(self.coupling) * float(self.tokens)
        product = float(self.activations.diagonal().double().sum() * self.gradients.diagonal().double().sum())
        return product / joint if joint else float("nan")


@dataclass(frozen=True)
class FactorSettings:
    """What decides the factors of an objective besides itself."""

    labels: Labels
    draws: int = 1
    seed: int = 0
    coupled: bool = False


def stream_factors(
    objective: Objective, layers: Sequence[LinearMap], recipe: FactorSettings, saved: Mapping[str, np.ndarray]
) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
    """Yields (done, total, sums by name) after each part of the data; goes on from `saved` sums.

    Nothing is yielded if the saved ones are complete. The layers are taken in groups whose sums fit into memory, with a
    pass over the data for each.
    """
    together = list(layer_groups(objective, layers, coupled=recipe.coupled))
    places = {layer.name: place for place, layer in enumerate(layers)}
    size = ceil(objective.batches.samples / PARTS)
    parts = ceil(objective.batches.samples / size)
    total = parts * len(together)
    # copies: they are added to in place
    sums = {name: torch.tensor(value, device=objective.device) for name, value in saved.items()}
    done, planned = (int(value) for value in sums.get(PLACE, torch.zeros(2)))
    if done and done == planned:
        return
    if planned != total:  # the memory, and with it the groups, were others
        done, sums = 0, {}
    for number, group in enumerate(together):
        if done >= (number + 1) * parts:
            continue
        collector = FactorCollector(objective, group, recipe)
        sums |= {f"{name}/{SHARES}": torch.tensor(places[leader]) for name, leader in collector.shares.items()}
        for place, part in enumerate(objective.parts(size)):
            if number * parts + place < done:
                continue
            for name, value in zip(collector.names, part.sums(collector.kernel), strict=True):
                sums[name] = sums[name].add_(value) if name in sums else value
            done += 1
            sums[PLACE] = torch.tensor([done, total])
            yield done, total, sums


def assemble_factors(layers: Sequence[LinearMap], sums: Mapping[str, Tensor]) -> dict[str, Factor]:
    """The factors by layer; layers with the same input share their activations."""
    found = {}
    for layer in layers:
        held = {f.name: sums.get(f"{layer.name}/{f.name}") for f in fields(Factor)}
        leader = sums.get(f"{layer.name}/{SHARES}")
        if leader is not None:
            held["activations"] = sums[f"{layers[int(leader)].name}/activations"]
        found[layer.name] = Factor(**held)  # type: ignore[arg-type]
    return found


def layer_groups(objective: Objective, layers: Sequence[LinearMap], *, coupled: bool) -> Iterator[list[LinearMap]]:
    """The layers cut into groups whose sums fit into memory together, one at least in each."""
    budget = room("state", objective.device)  # layers beyond that wait for another pass
    group: list[LinearMap] = []
    for layer in layers:
        if group and factor_bytes(objective, [*group, layer], coupled=coupled) > budget:
            yield group
            group = []
        group.append(layer)
    if group:
        yield group


def factor_bytes(objective: Objective, layers: Sequence[LinearMap], *, coupled: bool) -> int:
    """Bytes of the layers' sums, and of one batch's share in them."""
    entries = sum(layer.inputs**2 + layer.outputs**2 for layer in layers) * (2 if coupled else 1)
    return 2 * entries * objective.theta.itemsize


class FactorCollector:
    """Adds up the factors of some layers over batches; the sums do not depend on where batches end.

    `shares` says for a layer which earlier one has the same input: their activations are summed once.
    """

    def __init__(self, objective: Objective, layers: Sequence[LinearMap], recipe: FactorSettings) -> None:
        self.objective = objective
        self.layers = layers
        self.recipe = recipe
        self.capture = LayerCapture(objective, layers)
        self.passes = fisher_labels.backward_passes(objective, recipe.labels, recipe.draws)
        self.shares = self._shares()
        self.names = [f"{layer.name}/{name}" for layer in layers for name in self._held(layer)]

    def kernel(self, batch: Batch) -> tuple[Tensor, ...]:
        """The batch's sums, in the order of `names`."""
        recipe, passed = self.recipe, self.capture.run(batch)
        inputs = passed.inputs()
        found: list[dict[str, Any]] = [self._of_inputs(*pair) for pair in zip(self.layers, inputs, strict=True)]
        totals = fisher_labels.scalars(self.objective, passed.output, batch, recipe.labels, recipe.draws, recipe.seed)
        for number, total in enumerate(totals):
            outputs = passed.outputs(passed.slopes(total, keep=number + 1 < self.passes))
            for sums, given, slope in zip(found, inputs, outputs, strict=True):
                self._add(sums, given, slope)
        return tuple(sums[name] for layer, sums in zip(self.layers, found, strict=True) for name in self._held(layer))

    def _of_inputs(self, layer: LinearMap, given: Tensor) -> dict[str, Any]:
        shared = layer.name in self.shares
        return {
            "activations": None if shared else gram(given),
            "tokens": given.new_tensor(len(given), dtype=torch.float64),
        }

    def _add(self, sums: dict[str, Any], given: Tensor, slope: Tensor) -> None:
        """Adds one backward pass: g g', ||a||^2 ||g||^2, and the coupled sums."""
        a, g = given.square().sum(dim=1), slope.square().sum(dim=1)
        more: dict[str, Tensor] = {"gradients": gram(slope), "coupling": (a.double() * g.double()).sum()}
        if self.recipe.coupled:
            more |= {"coupled_activations": gram(given, g), "coupled_gradients": gram(slope, a)}
        for name, value in more.items():
            sums[name] = sums[name].add_(value) if name in sums else value

    def _held(self, layer: LinearMap) -> list[str]:
        """The sums that a layer has of its own, in order."""
        every = [f.name for f in fields(Factor)]
        own = every if self.recipe.coupled else [name for name in every if not name.startswith("coupled")]
        return own[1:] if layer.name in self.shares else own

    def _shares(self) -> dict[str, str]:
        calls = self.capture.run(next(iter(self.objective.first(1).batches))).calls
        first: dict[Any, str] = {}
        leaders = [
            first.setdefault(_inputs(each) or layer.name, layer.name)
            for layer, each in zip(self.layers, calls, strict=True)
        ]
        return {layer.name: name for layer, name in zip(self.layers, leaders, strict=True) if name != layer.name}


def gram(rows: Tensor, weights: Tensor | None = None) -> Tensor:
    """rows' diag(weights) rows, `(k, k)`; of large ones only what is on and below the diagonal is right."""
    left = rows if weights is None else rows * weights[:, None]
    width = rows.shape[1]
    if width < STRIPPED_FROM:
        return left.T @ rows
    product = rows.new_zeros((width, width))
    for begin in range(0, width, STRIP):
        end = min(begin + STRIP, width)
        torch.mm(left[:, begin:end].T, rows[:, :end], out=product[begin:end, :end])
    return product


def _whole(lower: Tensor) -> Tensor:
    """The symmetric matrix, float64, whose lower triangle is given."""
    half = lower.double().tril()
    return half + half.tril(-1).T


def _inputs(calls: Sequence[LayerCall]) -> tuple[Any, ...]:
    """Equal for layers that are called on the same tensors in the same way; empty if there is nothing to be told by."""
    if not all(call.given.numel() for call in calls):
        return ()
    seen = [(c.given.data_ptr(), c.given.shape, c.given.stride(), c.version, _patches(c)) for c in calls]
    return tuple(seen)


def _patches(call: LayerCall) -> Any:
    """How a convolution cuts its input into patches; None for a linear layer."""
    names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    return tuple(str(getattr(call.module, name, None)) for name in names)
