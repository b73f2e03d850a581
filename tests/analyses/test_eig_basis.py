"""How many basis vectors are planned, and in which memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from conftest import SAMPLES, tanh_net
from torch import Tensor

import landscape
from landscape import Eig, Objective
from landscape.analyses.eig_basis import BasisRows, plan_basis
from landscape.compute import budget
from landscape.compute.budget import PRODUCT_VECTORS, SPARE
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


def test_a_basis_that_does_not_fit_on_the_gpu_lies_in_the_host_s_memory(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    vectors = PRODUCT_VECTORS + 9.5  # beside a product there is room for 9 rows
    tight = int((vectors * objective.theta.nbytes + objective.graph_bytes) / (1 - SPARE))
    monkeypatch.setattr(
        "landscape.compute.memory.free_bytes", lambda device: 1 << 30 if device.type == "cpu" else tight
    )
    assert plan_basis(Eig(k=2), objective) == BasisRows(39, 39, False)
    monkeypatch.setattr(objective, "theta", SimpleNamespace(device=torch.device("cuda"), nbytes=objective.theta.nbytes))
    assert plan_basis(Eig(k=2), objective) == BasisRows(39, 9, True)
    assert plan_basis(Eig(k=2, max_basis=8), objective) == BasisRows(8, 8, False)


def test_more_eigenvalues_than_parameters_is_a_usage_error(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match="-k 40 eigenvalues of 39 parameters"):
        landscape.run(Eig(k=40), objective)


def test_a_basis_that_is_too_small_says_which_would_do(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match="--max-basis 9 or more"):
        landscape.run(Eig(k=5, max_basis=6), objective)


def test_the_certificate_s_basis_must_fit() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    with pytest.raises(UsageError, match=r"--certify[\s\S]*--max-basis"):
        landscape.run(Eig(k=1, certify=True, max_basis=20), objective)


def test_large_models_have_a_short_basis_unless_the_user_asks(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    assert plan_basis(Eig(k=2), objective).count == 2 * 2 + 20
    assert plan_basis(Eig(k=2, max_basis=30), objective).count == 30
