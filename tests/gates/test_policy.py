"""Policies as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import tanh_net
from torch import Tensor

from landscape import Density, Memorization, Objective, Sharpness
from landscape.errors import UsageError
from landscape.gates.metric import Metric
from landscape.gates.policy import DEFAULT_METRICS, DEFAULT_OPTIONS, Rule, parse_policy
from landscape.gates.tolerance import Tolerance
from landscape_cli.settings_values import record_from_settings

NAME = "eig.eigenvalues[0]"


def rule(value: Any, **about: Any) -> Rule:
    return parse_policy(metrics={NAME: value, "trace.trace": "error"}, **about).rules[Metric.parse(NAME)]


def test_the_usual_policy_gates_on_what_is_worth_it_at_two_per_cent() -> None:
    usual = parse_policy()
    assert [str(metric) for metric in usual.metrics] == list(DEFAULT_METRICS["same-weights"])
    assert all(one == Rule(Tolerance(0.02)) for one in usual.rules.values())
    assert usual.analyses == ["eig", "trace", "sharpness"]
    assert set(DEFAULT_OPTIONS) >= set(usual.analyses)


def test_a_gate_gives_every_size_that_a_budget_would_decide(classification: tuple[Tensor, Tensor]) -> None:
    """So that no baseline depends on what a budget buys, not even of one that buys nothing."""
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    for kind in (Density, Sharpness, Memorization):
        analysis = record_from_settings(kind, {**DEFAULT_OPTIONS[kind.name], "budget": 1e-3})
        full = record_from_settings(kind, {**DEFAULT_OPTIONS[kind.name], "budget": 1e9})
        assert analysis.fit_budget(objective).identity() == full.identity()


def test_retrained_checkpoints_have_another_tolerance_and_no_worst_case() -> None:
    usual = parse_policy("retrained")
    assert "sharpness.s_max[0]" not in map(str, usual.metrics)
    assert all(one.tolerance == Tolerance(0.25) for one in usual.rules.values())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("error", Rule(Tolerance(0.02))),
        ("warn", Rule(Tolerance(0.02), "warn")),
        ("off", Rule(Tolerance(0.02), "off")),
        ("3%", Rule(Tolerance(0.03))),
        ({}, Rule(Tolerance(0.02))),
        ({"max_increase": "1%"}, Rule(Tolerance(0.01))),
        ({"max_decrease": "1%"}, Rule(Tolerance(0.01), direction="decrease")),
        ({"max_change": "0.1 abs"}, Rule(Tolerance(0, 0.1), direction="both")),
        ({"level": "warn", "max_increase": "25%", "alpha": 0.05}, Rule(Tolerance(0.25), "warn", alpha=0.05)),
    ],
    ids=str,
)
def test_a_metric_is_written_in_a_word_or_as_a_table(value: Any, expected: Rule) -> None:
    assert rule(value) == expected


def test_tol_and_alpha_hold_where_a_metric_has_none() -> None:
    assert rule("error", tol="7%", alpha=0.2) == Rule(Tolerance(0.07), alpha=0.2)
    assert rule({"max_increase": "1%"}, tol="7%") == Rule(Tolerance(0.01))


def test_what_is_off_is_not_measured() -> None:
    chosen = parse_policy(metrics={NAME: "off", "trace.trace": "warn"})
    assert chosen.analyses == ["trace"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sometimes", "the tolerance 'sometimes'"),
        (0.02, "= 0.02"),
        (["2%"], "2%"),
        ({"max_rise": "2%"}, "did you mean max_increase"),
        ({"level": "fatal"}, "level = 'fatal'"),
        ({"max_increase": 0.02}, "the tolerance '0.02'"),
        ({"max_increase": "1%", "max_change": "2%"}, "max_increase and max_change"),
        ({"alpha": 0.7}, "alpha = 0.7"),
        ({"alpha": "small"}, "alpha = small"),
        ({"alpha": True}, "alpha = True"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_its_metric(value: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        rule(value)
    assert NAME in caught.value.what
    assert words in caught.value.what or words in caught.value.fix
    assert caught.value.fix


def test_a_policy_that_checks_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no metric is checked"):
        parse_policy(metrics={NAME: "off"})
    with pytest.raises(UsageError, match="no metric is checked"):
        parse_policy(metrics={})


def test_a_metric_stands_once_and_dashes_are_underscores() -> None:
    with pytest.raises(UsageError, match="is named twice"):
        parse_policy(metrics={"eig.eigenvalues[0]": "error", "eig.eigenvalues[ 0 ]": "off"})
    assert rule({"max-increase": "1%"}) == Rule(Tolerance(0.01))


def test_a_fall_that_no_positive_value_can_have_is_refused() -> None:
    with pytest.raises(UsageError, match="no value falls by 100%"):
        parse_policy("retrained", {NAME: {"max_decrease": "100%"}})
