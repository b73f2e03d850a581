"""AUROC against its definition and a simulation of its error."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.estimators.ranking import auroc


def test_it_is_the_share_of_pairs_in_order_with_ties_counted_half() -> None:
    random = np.random.RandomState(0)
    scores, positive = random.randint(0, 6, 50).astype(float), random.rand(50) < 0.3
    above, below = scores[positive][:, None], scores[~positive][None]
    wanted = ((above > below) + 0.5 * (above == below)).mean()
    assert auroc(scores, positive)[0] == pytest.approx(wanted, abs=1e-14)


@pytest.mark.parametrize(("scores", "value"), [([3, 2, 1, 0], 1.0), ([0, 1, 2, 3], 0.0), ([1, 1, 1, 1], 0.5)])
def test_perfect_reversed_and_useless_scores(scores: list[float], value: float) -> None:
    assert auroc(np.array(scores, float), np.array([True, True, False, False]))[0] == value


def test_scikit_learn_agrees() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.RandomState(1)
    scores, positive = random.randn(200), random.rand(200) < 0.2
    assert auroc(scores, positive)[0] == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)


def test_its_error_is_the_spread_over_draws() -> None:
    random = np.random.RandomState(2)
    positive = np.arange(120) < 30
    found = [auroc(random.randn(120) + positive, positive) for _ in range(400)]
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_one_kind_alone_has_none(positive: list[bool]) -> None:
    assert np.isnan(auroc(np.array([1.0, 2.0]), np.array(positive))).all()


def test_nan_scores_have_none() -> None:
    assert np.isnan(auroc(np.array([1.0, np.nan, 2.0]), np.array([True, False, False]))).all()
