"""Influence against closed forms, retrained nets and dense inverses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Splitter, tanh_net
from resumed_runs import assert_every_state_resumes
from scipy.optimize import minimize
from scipy.stats import spearmanr
from small_influences import dense_inverse, influence, rows
from token_models import Texts, next_tokens
from torch import Tensor, nn

from landscape import Influence, Objective
from landscape.errors import NumericalError, UsageError
from landscape.operators import operator

Data = tuple[Tensor, Tensor]
RIDGE = 0.1


# -- closed forms ----------------------------------------------------------------------------------------------------


class Ridge:
    """Regression of 30 samples with penalty RIDGE / 2 |w|^2, at its minimum: L = mean (x'w - y)^2 + penalty."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.x, self.y = random.normal(size=(30, 4)), random.normal(size=30)
        self.query, self.answer = random.normal(size=(3, 4)), random.normal(size=3)
        self.weights = self.fit(np.ones(30, bool))

    def fit(self, kept: np.ndarray) -> np.ndarray:
        """The minimum of the sum over the kept samples over 30, with the same penalty."""
        x, y = self.x[kept], self.y[kept]
        fitted: np.ndarray = np.linalg.solve(2 * x.T @ x / 30 + RIDGE * np.eye(4), 2 * x.T @ y / 30)
        return fitted

    def losses(self, weights: np.ndarray) -> np.ndarray:
        """The squared error of each query."""
        errors: np.ndarray = (self.query @ weights - self.answer) ** 2
        return errors

    def objective(self, **options: Any) -> Objective:
        net = nn.Linear(4, 1, bias=False).double()
        net.weight.data.copy_(torch.from_numpy(self.weights)[None])
        pairs = torch.from_numpy(self.x), torch.from_numpy(self.y)[:, None]
        queries = {"new": (torch.from_numpy(self.query), torch.from_numpy(self.answer)[:, None])}
        return Objective(net, pairs, "mse", dtype="float64", populations=queries, **options)


@pytest.mark.parametrize("penalty", ["damping", "weight-decay"])
def test_ridge_regression_has_the_scores_of_the_closed_form(penalty: str) -> None:
    ridge = Ridge()
    if penalty == "damping":
        found = influence(ridge.objective(), query="new", damping=str(RIDGE))
    else:
        found = influence(ridge.objective(weight_decay=RIDGE), query="new", damping="1e-12")
    inverse = np.linalg.inv(2 * ridge.x.T @ ridge.x / 30 + RIDGE * np.eye(4))
    of_samples = 2 * (ridge.x @ ridge.weights - ridge.y)[:, None] * ridge.x
    of_queries = 2 * (ridge.query @ ridge.weights - ridge.answer)[:, None] * ridge.query
    assert found.scores is not None
    assert np.allclose(found.scores, of_samples @ inverse @ of_queries.T / 30, rtol=1e-7, atol=1e-12)


def test_ridge_regression_without_a_sample_changes_as_scores_and_leverages_say() -> None:
    """The exact change of the weights is the first-order one over 1 - h, with h the sample's leverage."""
    ridge = Ridge()
    found = influence(ridge.objective(), query="new", damping=str(RIDGE), self_=True)
    inverse = np.linalg.inv(2 * ridge.x.T @ ridge.x / 30 + RIDGE * np.eye(4))
    leverages = 2 * np.einsum("ni,ij,nj->n", ridge.x, inverse, ridge.x) / 30
    assert found.scores is not None
    for left_out in range(30):
        kept = np.arange(30) != left_out
        change = ridge.fit(kept) - ridge.weights
        slopes = 2 * (ridge.query @ ridge.weights - ridge.answer)
        exact = ridge.losses(ridge.weights + change) - ridge.losses(ridge.weights)
        first = found.scores[left_out] / (1 - leverages[left_out])
        assert np.allclose(first, slopes * (ridge.query @ change), rtol=1e-6, atol=1e-12)
        assert np.allclose(exact, first + (ridge.query @ change) ** 2, rtol=1e-6, atol=1e-12)
    squares = (2 * (ridge.x @ ridge.weights - ridge.y)) ** 2  # g = s x, and g' H^-1 g / n = s^2 h / 2
    assert np.allclose(found.self_influence, squares * leverages / 2, rtol=1e-7)


def test_logistic_regression_retrained_without_each_sample_changes_as_the_scores_say() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(40, 3)), (random.random(40) < 0.5).astype(float)
    query, answer = random.normal(size=(2, 3)), np.array([0.0, 1.0])

    def losses(w: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        logits = inputs @ w
        found: np.ndarray = np.logaddexp(0, logits) - targets * logits
        return found

    def fit(kept: np.ndarray) -> np.ndarray:
        total = lambda w: losses(w, x[kept], y[kept]).sum() / 40 + RIDGE / 2 * w @ w  # noqa: E731
        found: np.ndarray = minimize(total, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
        return found

    every = np.arange(40)
    weights = fit(every >= 0)
    net = nn.Linear(3, 1, bias=False).double()
    net.weight.data.copy_(torch.from_numpy(weights)[None])
    data = torch.from_numpy(x), torch.from_numpy(y)[:, None]
    queries = {"new": (torch.from_numpy(query), torch.from_numpy(answer)[:, None])}
    objective = Objective(net, data, "bce", dtype="float64", populations=queries, weight_decay=RIDGE)
    found = influence(objective, query="new", damping="1e-9")
    assert found.scores is not None
    changes = np.stack([losses(fit(every != one), query, answer) - losses(weights, query, answer) for one in every])
    for column in range(2):
        assert np.corrcoef(changes[:, column], found.scores[:, column])[0, 1] > 0.99
        slope = changes[:, column] @ found.scores[:, column] / (found.scores[:, column] @ found.scores[:, column])
        assert slope == pytest.approx(1, abs=0.15)  # the changes have higher orders too


# -- dense inverses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverse", ["cg", "kfac", "ekfac"])
def test_scores_are_those_of_the_dense_inverse(inverse: str, classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    found = influence(objective, query="samples:3,20", inverse=inverse, damping="0.05", self_=True)
    gradients, dense = rows(objective), dense_inverse(objective, inverse, 0.05)
    assert np.allclose(found.scores, gradients @ dense @ gradients[[3, 20]].T / 24, rtol=1e-6, atol=1e-12)
    assert np.allclose(found.self_influence, (gradients @ dense * gradients).sum(dim=1) / 24, rtol=1e-6)
    matrix = operator("ggn", objective).to_dense() + 0.05 * torch.eye(objective.space.size, dtype=torch.float64)
    rests = gradients[[3, 20]].T - matrix @ dense @ gradients[[3, 20]].T
    residuals = torch.linalg.norm(rests, dim=0) / torch.linalg.norm(gradients[[3, 20]], dim=1)
    assert found.residual is not None
    assert np.allclose(found.residual, residuals, rtol=1e-6, atol=1e-9)
    assert found.agreement is not None
    larger = gradients @ dense_inverse(objective, inverse, 0.5) @ gradients[3]
    expected = spearmanr(gradients @ dense @ gradients[3], larger).statistic
    assert found.agreement[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["hessian", "fisher", "empirical-fisher"])
def test_other_matrices_are_inverted(name: str, classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy", dtype="float64")
    found = influence(objective, query="samples:3", operator=name, damping="1")
    gradients, dense = rows(objective), dense_inverse(objective, "cg", 1.0, name)
    assert np.allclose(found.scores, gradients @ dense @ gradients[[3]].T / 24, rtol=1e-6, atol=1e-12)


def test_tokens_count_as_terms_of_the_loss(generator: torch.Generator) -> None:
    """A query's gradient is that of its mean loss over tokens; a text's that of its sum."""
    objective = Objective(Texts(), next_tokens(generator), "cross_entropy", dtype="float64")
    found = influence(objective, query="samples:0,3", damping="0.05")
    gradients, dense = rows(objective), dense_inverse(objective, "cg", 0.05)
    queries = gradients[[0, 3]] / torch.tensor([[11.0], [6.0]])
    assert np.allclose(found.scores, gradients @ dense @ queries.T / objective.count, rtol=1e-6, atol=1e-12)


# -- options ---------------------------------------------------------------------------------------------------------


def test_the_score_for_the_mean_is_the_mean_of_the_scores(fitted: Objective) -> None:
    each = influence(fitted, query="held-out", damping="0.01")
    mean = influence(fitted, query="held-out", damping="0.01", each=False)
    assert each.scores is not None
    assert mean.scores is not None
    assert list(mean.query) == ["mean of 8 in held-out"]  # type: ignore[arg-type]
    assert np.allclose(mean.scores[:, 0], each.scores.mean(axis=1), rtol=1e-6, atol=1e-12)
    assert np.array_equal(each.helpful_sample, mean.helpful_sample)  # type: ignore[arg-type]


def test_samples_to_score_may_be_a_part_of_the_data(fitted: Objective) -> None:
    whole, part = (influence(fitted, query="held-out:0", damping="0.01", train=t) for t in (None, "samples:2,5-6"))
    assert list(part.sample) == [2, 5, 6]
    assert np.allclose(part.scores, whole.scores[[2, 5, 6]], rtol=1e-7)  # type: ignore[index, arg-type]


def test_other_training_data_bring_their_own_matrix(fitted: Objective) -> None:
    found = influence(fitted, query="samples:0", damping="0.01", train="clean")
    assert found.samples == len(found.sample) == 10
    clean = fitted.with_data(fitted.populations["clean"])
    gradients, dense = rows(clean), dense_inverse(clean, "cg", 0.01)
    assert np.allclose(found.scores, gradients @ dense @ rows(fitted)[[0]].T / 10, rtol=1e-6, atol=1e-12)


def test_memorized_samples_are_told_from_the_others(fitted: Objective) -> None:
    found = influence(fitted, damping="0.01")
    assert list(found.score) == ["self_influence", "loss", "gradient_norm2"]  # type: ignore[arg-type]
    assert list(np.flatnonzero(found.sample_memorized)) == list(range(6))  # type: ignore[arg-type]
    assert found.rank_self_influence is not None
    assert (np.diff(found.rank_self_influence) <= 0).all()


# -- membership ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverse", ["cg", "ekfac"])
def test_samples_not_trained_on_are_scored_under_the_matrix_of_the_data(inverse: str, fitted: Objective) -> None:
    found = influence(fitted, non_members="held-out", inverse=inverse, damping="0.05")
    others = fitted.with_data(fitted.populations["held-out"])
    gradients, dense = rows(others), dense_inverse(fitted, inverse, 0.05)
    own = (gradients @ dense * gradients).sum(dim=1) / 16
    np.testing.assert_allclose(found.non_member_self_influence, own, rtol=1e-6)  # type: ignore[arg-type]
    assert found.non_member is not None
    assert found.non_member_loss is not None
    assert found.membership_auroc is not None
    assert found.membership_auroc_se is not None
    assert list(found.non_member) == list(range(8))
    assert list(found.membership) == ["self_influence", "loss", "gradient_norm2"]  # type: ignore[arg-type]
    above = found.non_member_loss[:, None] > found.sample_loss
    assert found.membership_auroc[1] == pytest.approx(above.mean())
    assert (found.membership_auroc_se > 0).all()


def test_a_sample_cannot_be_trained_on_and_not(fitted: Objective) -> None:
    with pytest.raises(UsageError, match=r"that are scored: 0, 1, 2, 3 \(counted from 0\)"):
        influence(fitted, non_members="samples:0-3")


# -- odd inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [True, False])
def test_a_query_that_is_not_finite_is_refused_by_its_place(each: bool, fitted: Objective) -> None:
    x, y = fitted.populations["held-out"]
    x = x.clone()
    x[2, 1] = float("nan")
    broken = Objective(fitted.model, (x[:2] + 1, y[:2]), "cross_entropy", populations={"new": (x, y)})
    with pytest.raises(NumericalError, match="--query names are not finite" + " at places 2" * each):
        influence(broken, query="new", each=each, damping="0.1")
    with pytest.raises(NumericalError, match="gradients of new are not finite at places 2"):
        influence(broken, non_members="new", damping="0.1")


def test_a_query_without_a_gradient_has_no_lists(fitted: Objective) -> None:
    """Logits so large that the loss is 0 exactly."""
    model = nn.Linear(2, 2, bias=False).double()
    model.weight.data.copy_(torch.eye(2))
    data = torch.tensor([[1.0, 0], [0, 1], [0.2, 0.1]], dtype=torch.float64), torch.tensor([0, 1, 1])
    sure = {"sure": (torch.tensor([[5e3, 0.0]], dtype=torch.float64), torch.tensor([0]))}
    found = influence(Objective(model, data, "cross_entropy", dtype="float64", populations=sure), query="sure:0")
    assert found.scores is not None
    assert not found.scores.any()
    assert "all scores are 0 for sure:0: the lists of samples mean nothing there" in found.remarks()
    assert found.trouble() is None


def test_one_sample_alone_is_scored(classification: Data) -> None:
    x, y = classification
    objective = Objective(tanh_net(), (x[:1], y[:1]), "cross_entropy", dtype="float64")
    found = influence(objective, query="samples:0", damping="0.1", self_=True)
    gradients, dense = rows(objective), dense_inverse(objective, "cg", 0.1)
    expected = float(gradients[0] @ dense @ gradients[0])
    assert found.scores is not None
    assert found.scores.ravel() == pytest.approx([expected])
    assert found.self_influence == pytest.approx([expected])
    assert np.isnan(found.agreement).all()  # type: ignore[arg-type]  # ranks of one sample


def test_unfinished_solves_are_resumed_with_their_words(fitted: Objective) -> None:
    analysis = Influence(query="held-out:0-2", self_=True, non_members="held-out", tol=1e-9, max_iterations=3)
    whole = assert_every_state_resumes(analysis, fitted)
    assert "after 3 iterations" in str(whole.trouble())


# -- errors ----------------------------------------------------------------------------------------------------------


def test_products_and_cost_are_counted(fitted: Objective) -> None:
    found = influence(fitted, query="samples:0,1", precondition="none")
    assert found.iterations is not None
    assert found.products > found.iterations.sum() + 16
    assert found.cost_gradients is not None
    assert found.cost_gradients > 1.5 * found.products


def test_a_plan_names_columns_and_products(fitted: Objective) -> None:
    plan = Influence(query="held-out").plan(fitted)
    assert plan.facts["queries"] == "8 columns"
    assert plan.facts["training samples"] == "16"
    assert plan.products > 0
    assert plan.bytes == sum(plan.memory.values())
    assert Influence(damping="1").plan(fitted).products == 8


def test_lists_hold_both_ends_of_the_mean_scores(fitted: Objective) -> None:
    found = influence(fitted, query="held-out", damping="0.01", top=4)
    assert found.scores is not None
    mean = found.scores.mean(axis=1)
    assert np.array_equal(found.helpful_score, np.sort(mean)[::-1][:4])  # type: ignore[arg-type]
    assert np.array_equal(found.harmful_score, np.sort(mean)[:4])  # type: ignore[arg-type]
    assert np.array_equal(mean[found.helpful_sample], found.helpful_score)  # type: ignore[arg-type]
    assert np.array_equal(mean[found.harmful_sample], found.harmful_score)  # type: ignore[arg-type]
    assert np.array_equal(found.query_helpful[:, 0], found.scores.argmax(axis=0))  # type: ignore[index]
    assert np.array_equal(found.query_harmful[:, 0], found.scores.argmin(axis=0))  # type: ignore[index]
