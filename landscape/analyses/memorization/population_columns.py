"""The table of populations: how many samples, their loss, accuracy and recitation, and how many made the factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landscape.analyses.memorization.setup import CurvatureSetup
from landscape.evaluation.per_sample.outcomes import SampleOutcomes
from landscape.evaluation.per_sample.recitation import recite, texts
from landscape.evaluation.populations import sample_digests
from landscape.objective import Objective


def population_columns(
    setup: CurvatureSetup, measured: Mapping[str, Objective], before: Mapping[str, SampleOutcomes]
) -> dict[str, Any]:
    """Columns over the measured populations, from their outcomes before anything is removed.

    Accuracy is left out if no population has classes, recitation if none consists of texts.
    """
    labels_matter = setup.factor_settings.labels == "gold"  # other curvature does not depend on the labels of the data
    inside = set(sample_digests(setup.factored, targets=labels_matter))
    hashes = {name: sample_digests(one, targets=labels_matter) for name, one in measured.items()}
    columns: dict[str, Any] = {
        "population": np.array(list(measured)),
        "population_samples": np.array([one.batches.samples for one in measured.values()]),
        "population_loss": np.array([before[name].loss for name in measured]),
        "population_in_factors": np.array([np.mean([one in inside for one in hashes[name]]) for name in measured]),
    }
    accuracy = np.array([before[name].accuracy for name in measured])
    columns |= {"accuracy": accuracy} if not np.isnan(accuracy).all() else {}
    return columns | _recitation_columns(measured)


def _recitation_columns(measured: Mapping[str, Objective]) -> dict[str, Any]:
    """The shares of texts and of tokens that greedy decoding recites; NaN for populations that are not texts."""
    recitations = {name: recite(one, found) for name, one in measured.items() if (found := texts(one))}
    if not recitations:
        return {}
    pairs = [recitations.get(name) for name in measured]
    return {
        "recitation": np.array([pair.whole if pair else np.nan for pair in pairs]),
        "greedy_match": np.array([pair.tokens if pair else np.nan for pair in pairs]),
    }
