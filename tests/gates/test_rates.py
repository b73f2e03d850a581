"""False alarms and misses of the retrained rule, on checkpoints that benchmarks/gates.py trained and measured."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import ROOT

from landscape.gates import baseline
from landscape.gates.entry import Entry
from landscape.gates.policy import DEFAULT_METRICS, parse_policy
from landscape.gates.verdict import judge

sys.path.insert(0, str(ROOT / "benchmarks"))

KEPT = ROOT / "benchmarks" / "results" / "gates"
DRAWS = 400


def trained(recipe: str) -> list[Entry]:
    return list(baseline.read_baseline(KEPT / f"{recipe}.json", "retrained").entries)


def share(first: str, second: str, status: str) -> float:
    """How often any metric of the default policy has that verdict, 5 against 3."""
    earlier, later = trained(first), trained(second)
    random = np.random.RandomState(1)
    found = []
    for _ in range(DRAWS):
        order = random.permutation(len(earlier))
        rest = order[5:] if first == second else random.permutation(len(later))
        verdicts = judge(parse_policy("retrained"), [earlier[i] for i in order[:5]], [later[i] for i in rest[:3]])
        found.append(any(verdict.status == status for verdict in verdicts))
    return float(np.mean(found))


@pytest.mark.parametrize("recipe", ["usual", "sam", "epochs"])
def test_without_change_one_in_a_hundred_raises_an_alarm_at_most(recipe: str) -> None:
    assert len(trained(recipe)) == 24
    assert share(recipe, recipe, "regression") <= 0.01
    assert share(recipe, recipe, "inconclusive") <= 0.08, "losses or spreads that are further apart than seeds explain"


@pytest.mark.parametrize(("before", "after"), [("usual", "lr-tenth"), ("sam", "usual")])
def test_a_real_change_is_found(before: str, after: str) -> None:
    assert share(before, after, "regression") >= 0.9


def test_the_other_way_is_no_alarm() -> None:
    assert share("usual", "sam", "regression") == 0.0
    assert share("usual", "sam", "improvement") >= 0.9


def test_nets_that_were_not_trained_to_the_same_loss_are_not_compared() -> None:
    assert share("epochs", "epochs-lr-tenth", "inconclusive") == 1.0
    assert share("epochs", "epochs-lr-tenth", "regression") == 0.0


def test_the_rule_that_people_write_first_fails_every_fourth_time() -> None:
    values = [entry.readings[DEFAULT_METRICS["retrained"][0]].value for entry in trained("usual")]
    pairs = [(a, b) for i, a in enumerate(values) for j, b in enumerate(values) if i != j]
    assert 0.2 < np.mean([b > 1.1 * a for a, b in pairs]) < 0.5


@pytest.mark.slow
def test_training_anew_gives_a_checkpoint_like_the_kept_ones() -> None:
    import gates as study

    rules = parse_policy("retrained")
    fresh = study.measured(study.RECIPES["usual"], 0, rules)
    assert fresh.runs["eig"].loss <= 0.03 * 1.001
    for metric in map(str, rules.metrics):
        values = [entry.readings[metric].value for entry in trained("usual")]
        assert min(values) / 1.3 < fresh.readings[metric].value < max(values) * 1.3, metric
    assert not fresh.runs["eig"].mismatches(trained("usual")[1].runs["eig"])
