"""Measurements of influence, and what tests compare them with: gradients by sample and dense inverses."""

from __future__ import annotations

from typing import Any

import torch
from analysis_contract import drained
from torch import Tensor

import landscape
from landscape import Influence, Objective
from landscape.analyses.influence.influence_result import InfluenceResult
from landscape.analyses.influence.kronecker_factors import find_factored_maps, measure_kronecker
from landscape.evaluation.per_sample.gradients import sample_gradients
from landscape.operators import operator
from landscape.operators.kronecker import KroneckerOperator


def influence(objective: Objective, **options: Any) -> InfluenceResult:
    result: InfluenceResult = landscape.run(Influence(**{"tol": 1e-10, **options}), objective)
    return result


def kronecker_of(objective: Objective, *, corrected: bool) -> KroneckerOperator:
    """The Kronecker factors of all layers; EK-FAC's if they are `corrected`."""
    steps = measure_kronecker(find_factored_maps(Influence(), objective), objective, {}, corrected=corrected)
    kronecker: KroneckerOperator = drained(steps)[1]
    return kronecker


def dense_inverse(objective: Objective, inverse: str, damping: float, name: Any = "ggn") -> Tensor:
    """(A + damping I)^-1, of the matrix itself or of its Kronecker factors."""
    if inverse == "cg":
        matrix = operator(name, objective).to_dense()
    else:
        matrix = kronecker_of(objective, corrected=inverse == "ekfac").to_dense()
    return torch.linalg.inv(matrix + damping * torch.eye(len(matrix), dtype=torch.float64))


def rows(objective: Objective) -> Tensor:
    """The gradient of each sample's summed loss, `(N, P)`."""
    return torch.cat([sample_gradients(objective, batch) for batch in objective.batches])
