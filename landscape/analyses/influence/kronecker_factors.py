"""The Kronecker factors of all linear layers with their biases, as a matrix on the parameter space."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from landscape.algorithms.matrices.removal import eigenbasis
from landscape.analyses.base import Progress, State
from landscape.errors import TaskError, UsageError, listing
from landscape.evaluation import fisher_labels
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.kfac import assemble_factors, stream_factors
from landscape.evaluation.layers.layer_selection import measurable_layers
from landscape.evaluation.per_sample.eigenbasis_squares import LayerBases, eigenbasis_squares
from landscape.network.linear_maps import LinearMap, linear_maps
from landscape.operators.kronecker import KroneckerOperator, LayerSpectrum

if TYPE_CHECKING:
    from landscape.analyses.influence.influence import Influence
    from landscape.objective import Objective

SQUARES = "squares."  # begins the names of EK-FAC's eigenvalues in a state, which follow the sums of the factors


@dataclass(frozen=True)
class KroneckerLayers:
    """The layers whose Kronecker factors are measured, the biases that belong to them, and how labels are chosen."""

    layers: tuple[LinearMap, ...]
    biases: tuple[str | None, ...]
    settings: FactorSettings
    passes: int  # backward passes for each forward pass
    left_out: tuple[str, ...]  # parameters that belong to no layer

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence that names the parameters without factors."""
        return (f"without Kronecker factors: {listing(self.left_out)}",) if self.left_out else ()


def find_factored_maps(analysis: Influence, objective: Objective) -> KroneckerLayers:
    """All layers that compute W a + b.

    Raises UsageError for weight decay, which is in no factor, and TaskError if the model calls no linear layer.
    """
    if objective.decay:
        raise UsageError(
            "Kronecker factors are of the losses of samples, to which --weight-decay does not belong",
            fix="--inverse cg without --precondition",
        )
    candidates, _ = linear_maps(objective.model, objective.space.names)
    layers, _ = measurable_layers(objective, candidates)
    if not layers:
        raise TaskError("the model calls no linear layer whose weight is a parameter", fix="--inverse cg")
    labels = fisher_labels.choose_labels(objective, None)
    passes = fisher_labels.backward_passes(objective, labels, analysis.labels)
    draws = analysis.labels if labels == "sampled" else 1
    biases = tuple(_bias_of(objective, layer) for layer in layers)
    held = {layer.parameter for layer in layers} | set(biases)
    left_out = tuple(name for name in objective.space.names if name not in held)
    return KroneckerLayers(tuple(layers), biases, FactorSettings(labels, draws, analysis.seed), passes, left_out)


def measure_kronecker(
    found: KroneckerLayers, objective: Objective, saved: State, *, corrected: bool
) -> Generator[Progress, None, KroneckerOperator]:
    """Adds up the factors, and if `corrected` the squares of gradients between their eigenbases (EK-FAC)."""
    squares = {name: values for name, values in saved.items() if name.startswith(SQUARES)}
    sums = {name: values for name, values in saved.items() if name not in squares}
    store = None
    for done, total, store in stream_factors(objective, found.layers, found.settings, sums, homogeneous=True):
        yield Progress(done, total + corrected, "Kronecker factors", store.arrays)
    factors = assemble_factors(found.layers, _tensors(sums) if store is None else store)
    bases, values = [], []
    for layer, bias in zip(found.layers, found.biases, strict=True):
        factor, size = factors[layer.name], layer.inputs + (bias is not None)
        right, left = eigenbasis(factor.a[:size, :size]), eigenbasis(factor.g)
        bases.append(LayerBases(left.vectors, right.vectors))
        outer = torch.outer(torch.from_numpy(left.values), torch.from_numpy(right.values))
        values.append(outer * (float(factor.tokens) / objective.count))
    if corrected and not squares:
        measured = eigenbasis_squares(objective, found.layers, bases, found.settings)
        squares = {f"{SQUARES}{place}": each.cpu().numpy() for place, each in enumerate(measured)}
        kept = store.arrays() if store is not None else sums
        yield Progress(1, 1, "eigenvalues of EK-FAC", lambda: {**kept, **squares})
    if corrected:
        values = [torch.from_numpy(squares[f"{SQUARES}{place}"]) for place in range(len(found.layers))]
    return KroneckerOperator(objective.space, objective.theta, _spectra(found, bases, values))


def _spectra(
    found: KroneckerLayers, bases: Sequence[LayerBases], values: Sequence[torch.Tensor]
) -> list[LayerSpectrum]:
    parts = zip(found.layers, found.biases, bases, values, strict=True)
    return [LayerSpectrum(layer, bias, one.left, one.right, each) for layer, bias, one, each in parts]


def _tensors(arrays: State) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(values) for name, values in arrays.items()}


def _bias_of(objective: Objective, layer: LinearMap) -> str | None:
    """The bias that a layer adds behind its weight, if one module alone holds both; None without one."""
    bias = getattr(layer.modules[0], "bias", None)
    if len(layer.modules) > 1 or bias is None:
        return None
    holders = [m for m in objective.model.modules() if any(p is bias for p in m.parameters(recurse=False))]
    names = [name for name, parameter in objective.model.named_parameters() if parameter is bias]
    return names[0] if len(holders) == 1 and names and names[0] in objective.space.names else None
