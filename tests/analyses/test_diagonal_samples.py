"""Passes of drawn vectors: when they end, how they resume, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import nn

from landscape import Diagonal, Objective
from landscape.analyses.diagonal_samples import exact_diagonal, sum_samples
from landscape.errors import TaskError
from landscape.operators.output_vectors import LabelVectors, OutputVectors, RootVectors, choose_vectors
from landscape.operators.sample_diagonal import gradients_of_pass


@pytest.fixture
def objective() -> Objective:
    generator = torch.Generator().manual_seed(0)
    return Objective(nn.Linear(5, 40), (torch.randn(30, 5, generator=generator), torch.arange(30)), "cross_entropy")


def drained(analysis: Diagonal, objective: Objective, vectors: OutputVectors, saved: dict[str, np.ndarray]) -> tuple:  # type: ignore[type-arg]
    steps = sum_samples(analysis, objective, vectors, (objective.space.whole_group(),), saved)
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


def test_passes_end_as_soon_as_the_error_is_reached(objective: Objective) -> None:
    vectors = choose_vectors(objective, "ggn")
    assert vectors is not None
    seen, wide = drained(Diagonal(operator="ggn", rtol=0.9), objective, vectors, {})
    assert (len(seen), wide.draws) == (2, 16)  # two passes at least
    seen, narrow = drained(Diagonal(operator="ggn", rtol=0.02), objective, vectors, {})
    assert len(seen) > 2
    error = narrow.variance.sum()
    assert error <= 0.02**2 * ((narrow.diagonal**2).sum() - error)
    assert narrow.gradients == len(seen) * gradients_of_pass(8, all_known=True)


def test_passes_resume_from_every_moment(objective: Objective) -> None:
    vectors = choose_vectors(objective, "ggn")
    assert vectors is not None
    analysis = Diagonal(operator="ggn", rtol=0.1)
    seen, whole = drained(analysis, objective, vectors, {})
    for count, progress in enumerate(seen, 1):
        rest, again = drained(analysis, objective, vectors, dict(progress.state()))
        assert len(rest) == len(seen) - count
        assert np.array_equal(again.diagonal, whole.diagonal)
        assert np.array_equal(again.variance, whole.variance)


def test_the_limit_holds_for_draws_of_whole_passes(objective: Objective) -> None:
    labels = LabelVectors(objective, 16, 0)
    for limit, draws in ((3, 16), (47, 32), (48, 48)):
        analysis = Diagonal(operator="fisher", rtol=1e-6, max_products=limit)
        assert drained(analysis, objective, labels, {})[1].draws == draws


def test_an_exact_diagonal_of_a_model_that_cannot_be_followed_is_unknown() -> None:
    objective = Objective(tanh_net(), (torch.randn(6, 5), torch.arange(6) % 3), "cross_entropy")
    assert exact_diagonal(objective, RootVectors(objective, 3)) is not None

    class Broken(RootVectors):
        def make(self, output: object, batch: object, number: int):  # type: ignore[no-untyped-def]
            raise TaskError("no roots")

    assert exact_diagonal(objective, Broken(objective, 3)) is None
