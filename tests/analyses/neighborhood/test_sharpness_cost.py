"""Sizes of first looks at sharpness, what they cost, and what plans and results say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Sharpness, session
from landscape.analyses.neighborhood.sharpness_cost import EXPECTED_SHARE, FIRST_LOOKS, Look, look_within_budget
from landscape.objective.counted_time import seconds_per_gradient_by_count

Data = tuple[Tensor, Tensor]


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy")


def in_gradients(look: Look) -> float:
    """By hand: ascents, followed ascents, losses of pairs, 12 + 16 + 8 products, and the two at the center."""
    followed = len(look.factors)
    gradients = look.starts * 20 + 2 * 10 * followed
    losses = 2 * look.draws + 2 * min(look.draws, 16) * followed
    return EXPECTED_SHARE * gradients + 2.5 * 36 + losses / 3 + 2


@pytest.mark.parametrize("look", FIRST_LOOKS, ids=str)
def test_a_look_is_bought_for_its_counted_cost(look: Look, objective: Objective) -> None:
    price = in_gradients(look) * seconds_per_gradient_by_count(objective)
    fitted = Sharpness(budget=1.001 * price).fit_budget(objective)
    assert (fitted.starts, fitted.steps, fitted.draws) == (look.starts, 20, look.draws)
    assert fitted.curve == tuple(0.2 * factor for factor in look.factors)
    assert look_within_budget(Sharpness(budget=0.999 * price), objective) != look or look == FIRST_LOOKS[-1]


def test_the_first_look_of_a_small_net_has_the_usual_sizes(objective: Objective) -> None:
    fitted = Sharpness().fit_budget(objective)
    assert fitted.protocol == Sharpness().protocol
    assert fitted.curve == (0.05, 0.1, 0.4)
    assert fitted.fit_budget(objective) == fitted
    assert Sharpness(norm="linf").fit_budget(objective).curve == pytest.approx((0.0005, 0.001, 0.004))


@pytest.mark.parametrize(
    "options",
    [{"rho": 0.1}, {"rho": np.array([0.1, 0.2])}, {"average_rho": 0.1}, {"starts": 3}, {"steps": 3}, {"draws": 8},
     {"rtol": 0.5}, {"curve": 0.1}, {"preset": "sam"}],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_sizes_and_presets_that_are_given_leave_nothing_to_the_budget(
    options: dict[str, Any], objective: Objective
) -> None:
    analysis = Sharpness(**options, budget=1e-3)
    assert analysis.fit_budget(objective) is analysis


def test_clocks_and_free_memory_do_not_decide_sizes(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 1.001 * in_gradients(FIRST_LOOKS[2]) * seconds_per_gradient_by_count(objective)
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("a clock is read"))
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: pytest.fail("memory is asked for"))
    assert Sharpness(budget=budget).fit_budget(objective).starts == FIRST_LOOKS[2].starts


def test_stored_options_are_those_of_the_sizes_that_were_bought(objective: Objective) -> None:
    bought = session.execute(Sharpness(budget=1e-3), objective)
    look = FIRST_LOOKS[-1]
    curve = tuple(0.2 * factor for factor in look.factors)
    given = session.execute(Sharpness(starts=look.starts, draws=look.draws, curve=curve), objective)
    assert bought.attributes["fingerprint"] == given.attributes["fingerprint"]
    assert bought.attributes["options"] == given.attributes["options"]
    assert np.array_equal(bought.result.radius_s_max, given.result.radius_s_max)


def test_a_plan_states_the_sizes_and_their_counted_time(objective: Objective) -> None:
    plan = Sharpness(budget=1e-3).plan(objective)
    sizes = plan.facts["sizes"]
    assert sizes.startswith("5 starts and 16 pairs at rho 0.2, 2 and 16 at 0.1, 0.4, ")
    assert " counted seconds, the fewest: --limit " in sizes
    assert Sharpness().plan(objective).facts["sizes"].endswith(" counted seconds")
    assert plan.facts["gradients"] == "at most 140, of all the data"  # 5 x 20 and 2 x 2 x 10
    assert plan.facts["losses"] == "96"
    assert "2 and" not in Sharpness(rho=0.1).plan(objective).facts["sizes"]


def test_what_was_bought_and_what_more_would_buy(objective: Objective) -> None:
    result = landscape.run(Sharpness(curve=(0.1, 0.4), starts=3, steps=4, draws=18), objective)
    half = 100 * np.ptp(result.s_avg_interval[0]) / 2 / result.s_avg[0]
    assert result.bought() == (
        f"{result.gradients} gradients bought s_max at rho 0.2 as the best of 3 starts, {result.hits[0]} of them "
        f"within 1 % of it, 18 pairs bought s_avg to {half:.2g} % (95 %)"
    )
    more = result.more(10.0)
    assert more.startswith("4 times the pairs would halve that: --draws 72 --starts 3 --curve 0.1,0.4, about ")
    # 4 times the pairs are 3 x 36 losses more, a third of a gradient each, beside the gradients and 36 products
    work = result.gradients + 36 / 3 + 36 * 2.5
    assert float(more.split()[-2]) == pytest.approx(10 * (1 + 36 / work), rel=0.05)


def test_without_noise_more_starts_are_advised_and_for_one_step_nothing(objective: Objective) -> None:
    worst = landscape.run(Sharpness(starts=3, steps=4, draws=0), objective)
    assert worst.more(10.0).startswith("twice the starts may find more: --starts 6, about ")
    assert landscape.run(Sharpness(preset="sam"), objective).more(10.0) == ""
    average = landscape.run(Sharpness(starts=0, draws=4), objective)
    assert average.bought().startswith("4 pairs bought s_avg to ")
    assert "--draws 16 --starts 0, about" in average.more(1.0)
    assert "--draws 16, about" in landscape.run(Sharpness(draws=4), objective).more(1.0)  # the usual starts
