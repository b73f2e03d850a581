"""Factors that are read from the sidecar of an earlier analysis, and those that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained, equal
from memorized import FEW, fit_net
from torch import Tensor, nn

from landscape import Memorization, Objective, session
from landscape.analyses.memorization.factors import measure_factors
from landscape.analyses.memorization.setup import curvature_setup

Data = tuple[Tensor, Tensor]


def test_a_second_run_takes_those_beside_the_result(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    one = session.run(Memorization(**FEW), fit_net(classification), output=output)
    objective = fit_net(classification)
    steps: list[str] = []
    two = session.run(
        Memorization(**{**FEW, "resamples": 60}), objective, output=output, report=lambda p: steps.append(p.note)
    )
    assert "the factors are those in a.factors.safetensors" in two.notes
    assert "factors" not in steps
    assert np.array_equal(one.delta_loss, two.delta_loss)


@pytest.mark.parametrize(
    "change",
    [{"labels": "gold"}, {"layers": ("0",)}, {"factors_on": "clean"}, {"seed": 3, "labels": "sampled"}],
    ids=str,
)
def test_those_of_another_curvature_are_not(classification: Data, tmp_path: Path, change: dict[str, Any]) -> None:
    output = tmp_path / "a.landscape.h5"
    first = {"labels": "sampled"} if "seed" in change else {}
    session.run(Memorization(**FEW, **first), fit_net(classification), output=output)
    steps: list[str] = []
    session.run(
        Memorization(**{**FEW, **change}),
        fit_net(classification),
        output=output,
        report=lambda p: steps.append(p.note),
    )
    assert "factors" in steps


def test_a_damaged_sidecar_is_measured_again(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.run(Memorization(**FEW), fit_net(classification), output=output)
    (tmp_path / "a.factors.safetensors").write_bytes(b"no")
    assert session.run(Memorization(**FEW), fit_net(classification), output=output).loss > 0


def test_factors_of_another_model_of_the_same_weights_are_not_taken(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.run(Memorization(**FEW), fit_net(classification), output=output)
    other = fit_net(classification)
    other.model[1] = nn.ReLU()
    other = Objective(other.model, (classification[0][:16], classification[1][:16]), "cross_entropy")
    fresh = session.run(Memorization(**FEW), other)
    again = session.run(Memorization(**FEW), other, output=output)
    assert np.array_equal(fresh.layer_trace, again.layer_trace)


def test_the_factors_are_means_of_outer_products(classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    _, factors = drained(measure_factors(curvature_setup(Memorization(labels="gold"), objective), {}))
    x, y = classification[0][:16].double(), classification[1][:16]
    net = objective.model.double()
    hidden = net[0](x)
    (slopes,) = torch.autograd.grad(nn.functional.cross_entropy(net[1:](hidden), y, reduction="sum"), hidden)
    assert torch.allclose(factors.by_layer["0"].a, x.T @ x / 16, atol=1e-14)
    assert torch.allclose(factors.by_layer["0"].g, slopes.T @ slopes / 16, atol=1e-14)
    assert factors.notes == ()
    assert float(factors.arrays["loss"]) == float(objective.value())


def test_an_incomplete_sidecar_is_completed_and_not_named(classification: Data) -> None:
    setup = curvature_setup(Memorization(), fit_net(classification))
    running = measure_factors(setup, {})
    first = next(running).state()
    steps, whole = drained(running)
    last = steps[-1].state()
    source = np.frombuffer(b"a.factors.safetensors", np.uint8)
    rest, resumed = drained(measure_factors(setup, {**first, "source": source}))
    assert len(rest) == len(steps) > 0
    assert resumed.notes == ()
    assert equal(resumed.arrays, whole.arrays)
    none, complete = drained(measure_factors(setup, {**last, "source": source}))
    assert not none
    assert complete.notes == ("the factors are those in a.factors.safetensors",)
    assert equal(complete.arrays, whole.arrays)


def test_the_name_of_the_sidecar_is_not_stored_in_it(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    for _ in range(2):
        result = session.run(Memorization(**FEW), fit_net(classification), output=output)
    assert any("a.factors.safetensors" in note for note in result.notes)
    assert "source" not in result.factors
