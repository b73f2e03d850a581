"""Gradients in layers' outputs for vectors in a model's outputs, and closed forms that backward passes contradict."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.evaluation.layers.layer_io import LayerCapture
from landscape.evaluation.per_sample.own_gradients import find_gradients
from landscape.operators.layer_flows import evaluate, flows, wrong_names

VECTORS = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def objective(generator: torch.Generator) -> Objective:
    x = torch.randn(6, 5, generator=generator)
    return Objective(tanh_net(), (x, torch.arange(6) % 3), "cross_entropy", dtype="float64")


def gradients(objective: Objective) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """By parameter the squares of the samples' gradients for both vectors, and the sum for the first."""
    layers = find_gradients(objective)
    forward = LayerCapture(objective, layers).run(next(iter(objective.batches)))
    squares: dict[str, Tensor] = {}
    totals: dict[str, Tensor] = {}
    for layer, calls, parts in flows(forward, [forward.output], [VECTORS]):
        found = layer.evaluate(calls, parts, 6)
        squares |= found.squares
        totals |= found.totals
    return squares, totals


def test_what_flows_into_layers_gives_the_gradients_of_backward_passes(objective: Objective) -> None:
    squares, totals = gradients(objective)
    assert set(totals) == set(objective.space.names)
    points = objective.space.leaves(objective.theta)
    output = objective.batch_output(points, next(iter(objective.batches)))
    expected = torch.autograd.grad((output * VECTORS[0]).sum(), list(points.values()))
    for name, gradient in zip(points, expected, strict=True):
        torch.testing.assert_close(totals[name], gradient)
        assert squares[name].shape == (2, 6)


def test_wrong_squares_and_wrong_sums_are_found(objective: Objective) -> None:
    squares, totals = gradients(objective)
    batch, first = next(iter(objective.batches)), [VECTORS]
    assert wrong_names(objective, batch, first, squares, totals) == set()
    assert wrong_names(objective, batch, first, {**squares, "0.bias": 2 * squares["0.bias"]}, totals) == {"0.bias"}
    moved = {**totals, "2.weight": totals["2.weight"].flip(0)}
    assert wrong_names(objective, batch, first, squares, moved) == {"2.weight"}
    without = {name: each for name, each in squares.items() if name != "0.weight"}
    assert "0.weight" in wrong_names(objective, batch, first, without, totals)


def test_a_module_that_raises_has_no_closed_form(objective: Objective) -> None:
    forward = LayerCapture(objective, find_gradients(objective)).run(next(iter(objective.batches)))

    def fail() -> None:
        raise ValueError

    assert evaluate(forward.calls[0], 6, fail) is None
    assert evaluate(forward.calls[0], 6, lambda: 3) == 3
    assert evaluate(forward.calls[0], 4, lambda: 3) is None  # 6 rows of 4 samples
