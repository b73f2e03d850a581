"""Losses of populations at a series of points."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from analysis_contract import drained
from memorized import FEW, fit_net
from torch import Tensor

import landscape
from landscape import Memorization
from landscape.analyses.memorization.population_outcomes import measure_points
from landscape.errors import NumericalError

Data = tuple[Tensor, Tensor]


def test_a_population_whose_loss_is_not_finite_is_named(classification: Data) -> None:
    _, y = classification
    objective = fit_net(classification)
    objective.populations = {"clean": (torch.full((2, 5), torch.inf), y[:2])}
    for analysis in (Memorization(**FEW), landscape.Edit(max_loss_increase=0.1)):
        with pytest.raises(NumericalError, match=r"population is not finite: clean"):
            landscape.run(analysis, objective)


class TestASeriesOfPoints:
    @pytest.fixture
    def objective(self, classification: Data) -> landscape.Objective:
        return fit_net(classification, dtype="float64")

    def points(self, objective: landscape.Objective, made: list[int]) -> dict[str, Callable[[], Tensor]]:
        """Theta scaled by 1, 1.1 and 1.2; `made` records which of them were needed."""

        def make(place: int) -> Tensor:
            made.append(place)
            return objective.theta * (1 + place / 10)

        return {f"point {place}": partial(make, place) for place in range(3)}

    def test_losses_are_those_of_the_objective_there(self, objective: landscape.Objective) -> None:
        steps, found = drained(measure_points({"data": objective}, self.points(objective, []), {}, note="here"))
        assert [(step.done, step.total, step.note) for step in steps] == [
            (n, 3, f"here, point {n - 1}") for n in (1, 2, 3)
        ]
        for place in range(3):
            expected = float(objective.value(objective.theta * (1 + place / 10)))
            assert found[f"point {place}"]["data"].loss == pytest.approx(expected, rel=1e-12)

    def test_no_point_is_made_after_enough(self, objective: landscape.Objective) -> None:
        made: list[int] = []
        _, found = drained(
            measure_points(
                {"data": objective},
                self.points(objective, made),
                {},
                note="",
                enough=lambda measured: len(measured) == 2,
            )
        )
        assert made == [0, 1]
        assert list(found) == ["point 0", "point 1"]

    def test_saved_points_are_not_made_again(self, objective: landscape.Objective) -> None:
        steps, whole = drained(measure_points({"data": objective}, self.points(objective, []), {}, note=""))
        made: list[int] = []
        rest, resumed = drained(
            measure_points({"data": objective}, self.points(objective, made), steps[1].state(), note="")
        )
        assert made == [2]
        assert len(rest) == 1
        assert all(torch.equal(resumed[p]["data"].losses, whole[p]["data"].losses) for p in whole)
