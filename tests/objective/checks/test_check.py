"""Large models are checked as functions of their smallest tensors, and with fewer samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contract_breakers import BATCHES, Net, SavedDerivative
from torch import Tensor

import landscape
from landscape.objective.checks import check


def saves(net: Any, z: Tensor) -> Tensor:
    out: Tensor = SavedDerivative.apply(z)  # type: ignore[no-untyped-call]
    return out


def test_a_small_model_stays_as_it_is() -> None:
    objective = landscape.Objective(Net(), BATCHES, "cross_entropy")
    function, theta = check.restrict(objective.function, objective.theta)
    assert function is objective.function
    assert theta is objective.theta


def test_a_large_model_becomes_a_function_of_its_smallest_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LARGE_MODEL", 16)
    monkeypatch.setattr(check, "RESTRICTED", 8)
    objective = landscape.Objective(Net(), BATCHES, "cross_entropy", dtype="float64")
    function, theta = check.restrict(objective.function, objective.theta)
    assert function.space.names == ("a.bias", "b.bias")
    assert theta.numel() == 7
    batch = next(iter(objective.batches))
    assert torch.equal(function.output(theta, batch), objective.function.output(objective.theta, batch))


def test_a_fault_of_a_large_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LARGE_MODEL", 16)
    monkeypatch.setattr(check, "RESTRICTED", 8)
    objective = landscape.Objective(Net(saves), BATCHES, "cross_entropy")
    trouble = landscape.run(landscape.Eig(k=1), objective).trouble()
    assert trouble is not None
    assert "second derivative" in trouble.why
    plain = landscape.Objective(Net(), BATCHES, "cross_entropy")
    assert {finding.verdict for finding in landscape.run(landscape.Eig(k=1), plain).checks} == {"holds"}


def test_probes_repeat_their_numbers_beyond_their_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PROBE_NUMBERS", 4)
    probe = check.probe_vector(torch.zeros(10), "name")
    assert torch.equal(probe[:4], probe[4:8])
    assert torch.equal(probe[:2], probe[8:])
    assert len(set(probe[:4].tolist())) == 4


@pytest.mark.parametrize(("parameters", "samples"), [(100, 8), (20_000_000, 2)])
def test_large_models_take_fewer_samples(parameters: int, samples: int) -> None:
    assert check.sample_count(parameters) == samples
