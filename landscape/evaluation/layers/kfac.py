"""Kronecker factors of linear layers (K-FAC): sums over tokens, in passes over the data that can be resumed.

For y = W a and the gradient g of a loss in y: A = E a a' and G = E g g', where every row of a layer's input is a sample
(Martens and Grosse 2015, equation 1; "expand" in Eschenhagen et al. 2023). The curvature of W is about G (x) A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil, inf

import numpy as np
import torch
from torch import Tensor

from landscape.errors import TaskError
from landscape.evaluation.layers.factor_collector import FactorCollector, FactorSettings
from landscape.evaluation.layers.on_demand import OnDemand
from landscape.evaluation.layers.tensor_store import TensorStore, store_limit
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

PARTS_OF_DATA = 32  # after each of which the sums can be saved
PROGRESS_ENTRY = "place"  # of the sums: how many parts are done, of how many
SHARED_ENTRY = "shares"  # of a layer's sums: the number of the layer that has the same input


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
        return symmetrize(self.activations).div_(max(float(self.tokens), 1.0))

    @property
    def g(self) -> Tensor:
        """G `(p, p)`, float64."""
        return symmetrize(self.gradients).div_(max(float(self.tokens), 1.0))

    @property
    def coupled_factors(self) -> tuple[Tensor, Tensor]:
        """The coupled pair (A, G), float64, scaled so that tr A = 1 and tr G = E ||a||^2 ||g||^2."""
        if self.coupled_activations is None or self.coupled_gradients is None:
            raise TaskError("these factors have no coupled sums", fix="collect them with coupled=True")
        total = float(self.coupling)
        weighted = symmetrize(self.coupled_activations)
        a = weighted / total if total else weighted
        return a, symmetrize(self.coupled_gradients) / max(float(self.tokens), 1.0)

    @property
    def trace(self) -> float:
        """tr A tr G."""
        return self._trace_of_sums / max(float(self.tokens), 1.0) ** 2

    @property
    def independence(self) -> float:
        """tr A tr G / E ||a||^2 ||g||^2: 1 where the sizes of activations and gradients are uncorrelated."""
        joint = float(self.coupling) * float(self.tokens)
        return self._trace_of_sums / joint if joint else float("nan")

    @property
    def _trace_of_sums(self) -> float:
        return float(self.activations.diagonal().double().sum() * self.gradients.diagonal().double().sum())


def stream_factors(
    objective: Objective,
    layers: Sequence[LinearMap],
    settings: FactorSettings,
    saved: Mapping[str, np.ndarray],
    sums: TensorStore | None = None,
    *,
    homogeneous: bool = False,
) -> Iterator[tuple[int, int, TensorStore]]:
    """Yields (done, total, sums by name) after each part of the data; resumes from `saved` sums.

    Yields nothing if the saved sums are complete. `sums` is where they are kept: in memory and, beyond its limit, in
    a file. On an accelerator, which a file is far from, the layers are taken in groups whose sums fit into its memory,
    with a pass over the data for each. `homogeneous` inputs have a one behind them, for biases.
    """
    sums = TensorStore.beside(objective) if sums is None else sums
    groups = list(groups_in_memory(objective, layers, coupled=settings.coupled))
    numbers = {layer.name: number for number, layer in enumerate(layers)}
    samples = objective.batches.samples
    size = samples if objective.as_given else ceil(samples / PARTS_OF_DATA)
    parts = ceil(samples / size)
    total = parts * len(groups)
    for name, value in saved.items():  # copies: they are added to in place
        sums[name] = torch.tensor(np.asarray(value), device=objective.device)
    done, planned = (int(value) for value in sums.get(PROGRESS_ENTRY, torch.zeros(2)))
    if done and done == planned:
        return
    if planned != total:  # there was another amount of memory, and so other groups
        done = 0
        sums.clear()
    for group_number, group in enumerate(groups):
        if done >= (group_number + 1) * parts:
            continue
        if group_number:
            sums.release()  # those of earlier groups
        collector = FactorCollector(objective, group, settings, sums, homogeneous=homogeneous)
        for name, leader in collector.shares.items():
            sums[f"{name}/{SHARED_ENTRY}"] = torch.tensor(numbers[leader])
        for part_number, part in enumerate(objective.parts(size)):
            if group_number * parts + part_number < done:
                continue
            collector.add(part)
            done += 1
            sums[PROGRESS_ENTRY] = torch.tensor([done, total])
            yield done, total, sums


def assemble_factors(layers: Sequence[LinearMap], sums: Mapping[str, Tensor]) -> Mapping[str, Factor]:
    """The factors by layer, each read from the sums when it is asked for; layers with the same input share an A."""

    def read(name: str) -> Factor:
        """The factor of one layer."""
        own = {f.name: sums.get(f"{name}/{f.name}") for f in fields(Factor)}
        own["activations"] = sums[f"{input_leader(layers, sums, name)}/activations"]
        return Factor(**own)  # type: ignore[arg-type]

    return OnDemand((layer.name for layer in layers), read)


def input_leader(layers: Sequence[LinearMap], sums: Mapping[str, Tensor], name: str) -> str:
    """The layer whose activations are those of the layer `name`: an earlier one with the same input, or itself."""
    leader = sums.get(f"{name}/{SHARED_ENTRY}")
    return name if leader is None else layers[int(leader)].name


def groups_in_memory(objective: Objective, layers: Sequence[LinearMap], *, coupled: bool) -> Iterator[list[LinearMap]]:
    """The layers cut into groups whose sums fit into memory together, with at least one layer in each."""
    budget = pass_bytes(objective)
    group: list[LinearMap] = []
    for layer in layers:
        if group and factor_bytes(objective, [*group, layer], coupled=coupled) > budget:
            yield group
            group = []
        group.append(layer)
    if group:
        yield group


def pass_bytes(objective: Objective) -> float:
    """Bytes of the sums that one pass over the data may gather; on the CPU a file takes what memory does not."""
    return inf if objective.device.type == "cpu" else store_limit(objective)


def factor_bytes(objective: Objective, layers: Sequence[LinearMap], *, coupled: bool) -> int:
    """Bytes of the layers' sums."""
    entries = sum(layer.inputs**2 + layer.outputs**2 for layer in layers) * (2 if coupled else 1)
    return entries * objective.theta.itemsize


def symmetrize(lower: Tensor) -> Tensor:
    """The symmetric matrix `(k, k)`, float64, that has the lower triangle of `lower`."""
    half = lower.to(torch.float64, copy=True).tril_()
    return half.add_(half.tril(-1).T)
