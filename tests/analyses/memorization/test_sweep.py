"""The sweep over rho: where it stops, what it chooses, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from memorized import edit_of, fit_net
from torch import Tensor

import landscape
from landscape.analyses.memorization.sweep import RhoSweep, before_and_after, point_name, sweep_columns
from landscape.evaluation.per_sample.outcomes import SampleOutcomes

Data = tuple[Tensor, Tensor]


def test_it_stops_before_the_budget_is_exceeded(classification: Data) -> None:
    found = edit_of(fit_net(classification), max_loss_increase=0.05)
    rises = found.population_loss[list(found.population).index("clean")] - found.loss_before[1]
    assert found.bounded_by.tolist() == ["clean"]
    assert found.rho[0] == 1
    assert (np.diff(found.rho) < 0).all()
    assert (rises[:-1] <= 0.05).all()
    assert rises[-1] > 0.05
    assert found.chosen_rho == found.rho[-2]
    assert found.loss_increase == pytest.approx(rises[-2])
    assert found.loss_increase_se > 0


def test_nothing_is_removed_if_nothing_may_change(classification: Data) -> None:
    found = edit_of(fit_net(classification), max_loss_increase=0, rho=(0.5, 0.3))
    assert found.chosen_rho == 1
    assert found.weights == {}
    assert any("nothing can be removed within the budget" in said for said in found.remarks())


def test_several_rhos_without_a_budget_are_a_sweep_alone(classification: Data) -> None:
    found = edit_of(fit_net(classification), rho=(0.9, 0.5))
    assert found.rho.tolist() == [1, 0.9, 0.5]
    assert found.chosen_rho == 1
    assert found.weights == {}
    assert any("a sweep without a budget" in said for said in found.remarks())


def test_columns_before_and_after_are_those_of_the_chosen_point(classification: Data) -> None:
    found = edit_of(fit_net(classification), max_loss_increase=0.05)
    place = list(found.rho).index(found.chosen_rho)
    assert np.array_equal(found.loss_before, found.population_loss[:, 0])
    assert np.array_equal(found.loss_after, found.population_loss[:, place])
    assert found.accuracy is not None
    assert np.array_equal(found.accuracy_after, found.accuracy[:, place])


def test_the_rise_s_error_is_that_of_paired_samples(classification: Data) -> None:
    from landscape.evaluation.per_sample.outcomes import sample_outcomes
    from landscape.evaluation.populations import populations

    objective = fit_net(classification, dtype="float64")
    found = edit_of(objective, rho=(0.6,))
    theta = objective.theta.clone()
    for name, part in objective.space.unflatten(theta).items():
        if found.weights is not None and name in found.weights:
            part.copy_(torch.from_numpy(found.weights[name]))
    clean = populations(objective)["clean"]
    apart = (sample_outcomes(clean, theta).losses - sample_outcomes(clean).losses).numpy()
    assert found.loss_increase == pytest.approx(apart.mean(), rel=1e-10)
    assert found.loss_increase_se == pytest.approx(apart.std(ddof=1) / len(apart) ** 0.5, rel=1e-10)


def test_rhos_that_are_nearly_equal_are_told_apart(classification: Data) -> None:
    found = edit_of(fit_net(classification), rho=(0.9999999, 0.9, 0.9000001), max_loss_increase=1e3)
    assert found.rho.tolist() == [1.0, 0.9999999, 0.9000001, 0.9]
    assert found.population_loss.shape == (3, 4)


def test_a_loss_that_is_none_is_beyond_any_budget(generator: torch.Generator) -> None:
    class Unit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = torch.nn.Linear(5, 4, bias=False), torch.nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x)
            out: Tensor = self.b(hidden / hidden.norm(dim=1, keepdim=True))
            return out

    x, y = torch.randn(20, 5, generator=generator), torch.randint(0, 3, (20,), generator=generator)
    found = edit_of(landscape.Objective(Unit(), (x, y), "cross_entropy"), rho=(0.9, 0.0), max_loss_increase=1e6)
    assert np.isnan(found.bound_loss[-1])
    assert found.chosen_rho == 0.9


def outcome(*losses: float) -> SampleOutcomes:
    """Samples of these losses, each of which counts once; all predictions are right."""
    values = torch.tensor(losses, dtype=torch.float64)
    return SampleOutcomes(values, torch.ones_like(values), torch.ones_like(values))


def along(*means: float) -> dict[str, dict[str, SampleOutcomes]]:
    """The outcomes of one population `a` whose mean losses at rho 1, 0.9, 0.8, ... are these."""
    return {point_name(1 - place / 10): {"a": outcome(mean - 1, mean + 1)} for place, mean in enumerate(means)}


RHOS = (1.0, 0.9, 0.8)


class TestChoosing:
    def test_the_smallest_rho_within_the_budget(self) -> None:
        sweep = RhoSweep(RHOS, "a", 0.5, requested=2)
        assert not sweep.exceeds_budget(along(1.0, 1.2))
        assert not sweep.exceeds_budget(along(1.0, 1.5))  # the budget itself is allowed
        assert sweep.exceeds_budget(along(1.0, 1.2, 1.6))
        assert sweep.choose(along(1.0, 1.2, 1.6)) == 0.9
        assert sweep.choose(along(1.0, 1.2, 1.4)) == 0.8

    def test_a_loss_that_falls_is_within_any_budget(self) -> None:
        assert RhoSweep(RHOS, "a", 0.0, requested=2).choose(along(1.0, 0.7, 0.6)) == 0.8

    def test_nan_is_beyond_any_budget(self) -> None:
        sweep = RhoSweep(RHOS, "a", 1e9, requested=2)
        assert sweep.exceeds_budget(along(1.0, float("nan")))
        assert sweep.choose(along(1.0, float("nan"))) == 1.0

    @pytest.mark.parametrize(("requested", "chosen"), [(1, 0.8), (2, 1.0)])
    def test_without_a_budget_only_a_single_rho_is_chosen(self, requested: int, chosen: float) -> None:
        sweep = RhoSweep(RHOS, "a", None, requested)
        assert not sweep.exceeds_budget(along(1.0, float("nan")))
        assert sweep.choose(along(1.0, 2.0, 3.0)) == chosen

    def test_points_that_were_not_reached_are_not_chosen(self) -> None:
        assert RhoSweep(RHOS, "a", 0.5, requested=2).rhos_in(along(1.0, 1.6)) == [1.0, 0.9]


def test_the_rise_and_its_error_are_those_of_the_differences() -> None:
    measured = {point_name(1.0): {"a": outcome(1, 2, 3)}, point_name(0.9): {"a": outcome(2, 2, 6)}}
    rise, error = RhoSweep((1.0, 0.9), "a", None, requested=1).loss_increase(measured, 0.9)
    assert rise == pytest.approx(4 / 3)
    assert error == pytest.approx(np.std([1, 0, 3], ddof=1) / 3**0.5)


def test_one_sample_gives_no_error() -> None:
    measured = {point_name(1.0): {"a": outcome(1)}, point_name(0.9): {"a": outcome(3)}}
    rise, error = RhoSweep((1.0, 0.9), "a", None, requested=1).loss_increase(measured, 0.9)
    assert rise == 2
    assert np.isnan(error)


def test_columns_have_a_row_for_each_population_and_recitation_only_of_texts() -> None:
    measured = {point_name(rho): {"a": outcome(rho), "b": outcome(2 * rho, 0)} for rho in RHOS}
    columns = sweep_columns(measured, {}, ["a", "b"])
    assert columns["population_loss"].tolist() == [[1, 0.9, 0.8], [1, 0.9, 0.8]]
    assert columns["accuracy"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert "recitation" not in columns
    recitations = {point: np.array([[0.5, np.nan], [0.75, np.nan]]) for point in measured}
    texts = sweep_columns(measured, recitations, ["a", "b"])
    assert texts["recitation"][0].tolist() == [0.5, 0.5, 0.5]
    assert texts["greedy_match"][0].tolist() == [0.75, 0.75, 0.75]
    assert np.isnan(texts["recitation"][1]).all()


def test_accuracy_is_left_out_where_no_population_has_classes() -> None:
    without = replace(outcome(1.0, 2.0), right=torch.full((2,), torch.nan))
    assert "accuracy" not in sweep_columns({point_name(1.0): {"a": without}}, {}, ["a"])


def test_before_is_the_first_column_and_after_the_chosen_one() -> None:
    columns = {"population_loss": np.array([[1.0, 2.0, 3.0]]), "accuracy": np.array([[0.9, 0.8, 0.7]])}
    assert {name: values.tolist() for name, values in before_and_after(columns, 1).items()} == {
        "loss_before": [1.0],
        "loss_after": [2.0],
        "accuracy_before": [0.9],
        "accuracy_after": [0.8],
    }
