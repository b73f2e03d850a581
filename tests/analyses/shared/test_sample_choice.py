"""How many samples an error by the data needs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import nn

from landscape import Eig, Objective, Trace
from landscape.analyses.base import Progress
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.sample_choice import (
    ChosenSamples,
    PartError,
    choose_samples,
    describe_choice,
    fit_options,
)


@pytest.fixture
def objective() -> Objective:
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    return Objective(nn.Linear(2, 1), (x, x[:, :1]), "mse", dtype="float64")


class Falling:
    """An error that falls as one over the root of the samples, and the parts for which it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, part: Objective) -> Generator[Progress, None, PartError]:
        self.asked.append(part.batches.samples)
        yield Progress(0, 1, "a product", dict)
        return PartError(float(part.batches.samples**-0.5), gradients=3.0)


def last(steps: Generator[Progress, None, ChosenSamples]) -> tuple[ChosenSamples, list[tuple[str, dict[str, Any]]]]:
    """The value of the steps, and the note and the snapshot of each."""
    seen = []
    while True:
        try:
            step = next(steps)
            seen.append((step.note, dict(step.state())))
        except StopIteration as end:
            return end.value, seen


@pytest.mark.parametrize(
    ("error", "samples", "tried"),
    [("20%", 64, [64]), ("9%", 128, [64, 128]), ("4%", 1000, [64, 128, 256, 512, 1000]), ("1%", 1000, None)],
)
def test_samples_are_doubled_until_the_error_is_small_enough(
    objective: Objective, error: str, samples: int, tried: list[int] | None
) -> None:
    falling = Falling()
    chosen, seen = last(choose_samples(Eig(data_error=error), objective, Phases(None), falling))
    assert chosen.objective.batches.samples == samples
    assert chosen.gradients == pytest.approx(3 * sum(falling.asked) / samples)  # of which a smaller part has fewer
    assert tried is None or falling.asked == tried
    assert seen[0][0] == "choosing samples, 64 samples: a product"


def test_finished_parts_are_not_measured_again(objective: Objective) -> None:
    analysis = Eig(data_error="9%")
    _, seen = last(choose_samples(analysis, objective, Phases(None), Falling()))
    after_first = next(state for note, state in seen if "64 samples: error" in note)
    falling = Falling()
    chosen, _ = last(choose_samples(analysis, objective, Phases(after_first), falling))
    assert chosen.objective.batches.samples == 128
    assert chosen.gradients == pytest.approx(3 * (1 + 64 / 128))
    assert falling.asked == [128]


def test_the_tolerance_of_products_fits_unless_the_user_chose_one() -> None:
    fitted = fit_options(Eig(data_error="5%"), "tol", 500)
    assert (fitted.tol, fitted.resample) == (pytest.approx(0.005), 20)
    assert fit_options(Eig(data_error="5%", tol=1e-4), "tol", 500).tol == 1e-4
    assert fit_options(Eig(data_error="0.1%"), "tol", 500).tol == 1e-3
    assert fit_options(Trace(data_error="10%", resample=7), "rtol", 500) == Trace(
        data_error="10%", rtol=0.05, resample=7
    )
    assert fit_options(Eig(data_error="5%"), "tol", 9).resample == 9
    assert fit_options(Eig(), "tol", 500) == Eig()


def test_a_plan_says_where_the_choice_begins_and_ends() -> None:
    assert describe_choice(1000, "5%") == "from 64, doubled until the data err by 5%, to all 1000 as planned"
