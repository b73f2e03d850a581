"""Algorithms on another device take the CPU's steps, and go on from a snapshot of the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, last, symmetric
from torch import Tensor

from landscape.algorithms.ascent.ascent import ascend
from landscape.algorithms.ascent.ball import Ball
from landscape.algorithms.estimators.trace.estimates import preferred_estimate
from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.state import TraceGoal
from landscape.algorithms.lanczos.batched import batched_lanczos, quadrature_rules
from landscape.algorithms.lanczos.lanczos import lanczos
from landscape.algorithms.lanczos.ritz import ritz_pairs
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs
from landscape.algorithms.snapshots import restore, snapshot
from landscape.network.space import ParameterGroup

pytestmark = [pytest.mark.device, pytest.mark.other_device]
SPECTRUM = np.concatenate([np.linspace(-1, 1, 50), [4.0, 5.0, 7.0, 11.0]])
WANTED = WantedPairs(3, tol=1e-8)
GROUP = ParameterGroup("all", ("w",), ((0, len(SPECTRUM)),))


def on(device: str) -> MatrixOperator:
    """The matrix of that spectrum on the device."""
    return MatrixOperator(symmetric(SPECTRUM).matrix.to(device))


def eigenvalues(operator: MatrixOperator, resume: LanczosState | None = None) -> np.ndarray:
    state = last(lanczos(operator, WANTED, max_basis=30, max_products=200, resume=resume))
    return ritz_pairs(state, WANTED).values


def test_lanczos_finds_the_eigenvalues_that_the_matrix_was_made_with(device: str) -> None:
    assert np.allclose(eigenvalues(on(device)), [11, 7, 5], rtol=1e-10)


def test_a_run_begun_on_the_cpu_is_finished_on_the_device(device: str) -> None:
    running = lanczos(on("cpu"), WANTED, max_basis=30, max_products=200)
    state = [next(running) for _ in range(8)][-1]
    arrays = {name: value.copy() for name, value in snapshot(state).items()}
    there = on(device)
    moved = restore(LanczosState, arrays, there.like)
    assert moved.basis.device == there.like.device
    assert np.allclose(eigenvalues(there, moved), [11, 7, 5], rtol=1e-10)


def test_quadrature_has_the_trace_of_the_matrix(device: str) -> None:
    rules = []
    for where in ("cpu", device):
        state = last(batched_lanczos(on(where), (GROUP,), probes=3, steps=20, probes_per_pass=2))
        rules.append(quadrature_rules(state, (GROUP,))[0])
    assert np.allclose(rules[0].nodes, rules[1].nodes, atol=1e-8)
    assert np.allclose(rules[0].weights, rules[1].weights, atol=1e-8)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "xtrace"])
def test_the_trace_is_estimated_alike(method: Any, device: str) -> None:
    goal = TraceGoal(method, 0.05, 40, 40)
    found = [preferred_estimate(last(estimate_trace(on(where), (), goal)), goal) for where in ("cpu", device)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].value == pytest.approx(found[1].value, rel=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_ascents_end_at_the_same_points(norm: Any, device: str) -> None:
    ends = []
    for where in ("cpu", device):
        matrix = on(where).matrix

        def evaluate(points: Tensor, matrix: Tensor = matrix) -> tuple[Tensor, Tensor]:
            images = points @ matrix
            return (points * images).sum(1) / 2, images

        starts = torch.linspace(-1, 1, 2 * len(SPECTRUM), dtype=torch.float64).view(2, -1).to(where) / 100
        ends.append(last(ascend(evaluate, Ball(norm, 0.5), starts, 0.0, steps=20)))
    assert np.allclose(ends[0].values, ends[1].values, rtol=1e-8)
    assert torch.allclose(ends[0].points, ends[1].points.cpu(), atol=1e-7)
