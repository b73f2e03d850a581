"""The layers, samples and labels whose Kronecker factors an analysis measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from landscape.analyses.memorization.kronecker import KroneckerAnalysis
from landscape.errors import TaskError, UsageError, listing
from landscape.evaluation import fisher_labels, populations
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.layer_selection import measurable_layers, without_head
from landscape.network.linear_maps import LinearMap, linear_maps, select_linear_maps
from landscape.objective import Objective


@dataclass(frozen=True)
class CurvatureSetup:
    """The populations, the objective whose curvature is factored, the layers, and how labels are chosen."""

    populations: Mapping[str, Objective]
    factored: Objective
    layers: tuple[LinearMap, ...]
    factor_settings: FactorSettings
    notes: tuple[str, ...] = ()  # sentences about layers that are left out

    @property
    def identity(self) -> str:
        """A hash of everything that decides the factors: model, data, labels and layers."""
        parts = {
            **self.factored.identity(),
            **asdict(self.factor_settings),
            "layers": [layer.parameter for layer in self.layers],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def curvature_setup(analysis: KroneckerAnalysis, objective: Objective) -> CurvatureSetup:
    """Finds the populations and layers that the options name.

    Raises UsageError for a name that does not exist and for weight decay, which is in no factor, and TaskError if the
    model calls no linear layer or is in train mode with losses that depend on their batch.
    """
    if objective.decay:
        raise UsageError(
            "Kronecker factors are of the losses of samples, to which --weight-decay does not belong",
            fix="leave --weight-decay out: it adds the same to the curvature of every direction",
        )
    if objective.mode == "train" and objective.as_given:
        raise TaskError(
            "samples are scored one by one, and in train mode statistics and masks belong to a batch",
            fix="leave --mode train out",
        )
    every = populations.populations(objective, analysis.population, analysis.by)
    factored = populations.population(every, objective, analysis.factors_on, "--factors-on")
    candidates, unsupported = linear_maps(objective.model, objective.space.names)
    candidates, unused = measurable_layers(objective, candidates)
    if not candidates:
        raise TaskError(
            "the model calls no linear layer whose weight is a parameter", fix="see landscape inspect, and --params"
        )
    if analysis.layers:
        layers = select_linear_maps(candidates, analysis.layers, "--layers")
    else:
        layers = without_head(objective, candidates) or candidates
    labels = fisher_labels.choose_labels(objective, analysis.labels)
    fisher_labels.backward_passes(objective, labels, analysis.draws)  # raises for a loss without these labels
    draws = analysis.draws if labels == "sampled" else 1
    factor_settings = FactorSettings(labels, draws, analysis.seed, coupled=analysis.coupled)
    head = [] if analysis.layers else [one.name for one in candidates if one not in layers]
    return CurvatureSetup(every, factored, tuple(layers), factor_settings, tuple(_notes(unsupported + unused, head)))


def _notes(impossible: list[str], head: list[str]) -> list[str]:
    """Sentences that name the layers that are not measured, and why."""
    notes = []
    if impossible:
        why = "tied, grouped, parametrized, never called, or not W a + b"
        notes.append(f"not measured, since {why}: {listing(impossible)}")
    if head:
        notes.append(f"the head is left out: {listing(head)} (--layers '*' takes every layer)")
    return notes
