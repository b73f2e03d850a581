"""Tests of weight decay: the penalty X/2 |theta|^2 in the loss, its gradient and every product."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.errors import UsageError
from landscape.evaluation.points import values, values_and_gradients
from landscape.evaluation.working_copy import WorkingCopy
from landscape.operators.base import LinearOperator
from landscape.operators.gauss_newton import EmpiricalFisherOperator, FisherOperator, GaussNewtonOperator
from landscape.operators.hessian import HessianOperator
from landscape.operators.pyhessian import PyHessianOperator

RATE = 0.25
Make = Callable[[], Objective]


@pytest.fixture
def make() -> Callable[..., Objective]:
    """A small net with ragged batches and an ignored target, in float64, with further arguments of `Objective`."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    x, y = torch.randn(11, 4, generator=generator), torch.randint(0, 3, (11,), generator=generator)
    y[2] = -100
    return partial(Objective, net, [(x[:7], y[:7]), (x[7:], y[7:])], "cross_entropy", dtype="float64")


@pytest.mark.parametrize("operator", [HessianOperator, GaussNewtonOperator, FisherOperator])
def test_every_matrix_rises_by_the_rate_on_its_diagonal(make: Callable[..., Objective], operator: type[Any]) -> None:
    plain, decayed = (operator(make(weight_decay=rate)).to_dense() for rate in (0.0, RATE))
    torch.testing.assert_close(decayed - plain, RATE * torch.eye(len(plain), dtype=torch.float64))


def test_every_eigenvalue_rises_by_the_rate(make: Callable[..., Objective]) -> None:
    results = [landscape.run(landscape.Eig(k=4, tol=1e-10), make(weight_decay=rate)) for rate in (0.0, RATE)]
    plain, decayed = (result.eigenvalues for result in results)
    np.testing.assert_allclose(decayed, plain + RATE, rtol=1e-9)


@pytest.mark.parametrize("operator", ["hessian", "ggn", "fisher"])
@pytest.mark.parametrize("which", ["largest", "both"])
def test_a_rate_far_above_the_eigenvalues_does_not_blur_them(
    make: Callable[..., Objective], operator: Any, which: Any
) -> None:
    """The tolerance is relative to the eigenvalues of the loss: each is within its stated bound of the dense one."""
    analysis = landscape.Eig(k=4, operator=operator, which=which, per_layer=True)
    results = [landscape.run(analysis, make(weight_decay=rate)) for rate in (0.0, 1000.0)]
    plain, decayed = results
    np.testing.assert_allclose(decayed.eigenvalues, plain.eigenvalues + 1000, rtol=1e-12)
    np.testing.assert_allclose(decayed.layer_eigenvalues, plain.layer_eigenvalues + 1000, rtol=1e-12)
    np.testing.assert_allclose(decayed.error_bounds, plain.error_bounds, rtol=1e-6)


@pytest.mark.parametrize("globs", [(), ("*.weight",), ("!2.*",)], ids=["all", "weights", "all but a layer"])
def test_value_and_gradient_are_those_of_the_penalized_loss(
    make: Callable[..., Objective], globs: tuple[str, ...]
) -> None:
    plain, decayed = make(), make(weight_decay=RATE, decay_params=globs)
    mask = plain.space.mask(globs, "--decay-params").double() if globs else torch.ones_like(plain.theta)
    penalty = RATE / 2 * (mask * plain.theta**2).sum()
    assert float(decayed.value()) == pytest.approx(float(plain.value() + penalty), rel=1e-12)
    torch.testing.assert_close(decayed.gradient(), plain.gradient() + RATE * mask * plain.theta)
    for kind in (HessianOperator, GaussNewtonOperator):
        difference = kind(decayed).to_dense() - kind(plain).to_dense()
        torch.testing.assert_close(difference, RATE * torch.diag(mask))


def test_points_blocks_and_groups_of_samples_have_the_penalty_too(make: Callable[..., Objective]) -> None:
    plain, decayed = make(), make(weight_decay=RATE)
    thetas = torch.stack([plain.theta, 0.5 * plain.theta], dim=1)
    penalties = RATE / 2 * (thetas**2).sum(dim=0)
    torch.testing.assert_close(values(decayed, thetas), values(plain, thetas) + penalties)
    losses, gradients = values_and_gradients(decayed, thetas)
    expected, expected_gradients = values_and_gradients(plain, thetas)
    torch.testing.assert_close(losses, expected + penalties)
    torch.testing.assert_close(gradients, expected_gradients + RATE * thetas)
    column = torch.linspace(-1, 1, plain.space.size, dtype=torch.float64)[:, None]
    groups = plain.space.layers()
    blocks = [HessianOperator(o).block_diagonal(groups) @ column for o in (plain, decayed)]
    torch.testing.assert_close(blocks[1], blocks[0] + RATE * column)
    for kind in (HessianOperator, GaussNewtonOperator):
        own, counts = kind(plain).quadratics(column, [3, 8])
        others, _ = kind(decayed).quadratics(column, [3, 8])
        torch.testing.assert_close(others, own + RATE * counts[:, None] * (column**2).sum())


def test_a_surface_is_that_of_the_penalized_loss(make: Callable[..., Objective]) -> None:
    options = landscape.Surface(grid=5, seed=3)
    plain, decayed = (landscape.run(options, make(weight_decay=rate)) for rate in (0.0, RATE))
    assert decayed.centre_loss == pytest.approx(
        plain.centre_loss + float(RATE / 2 * (make().theta ** 2).sum()), rel=1e-6
    )
    assert not np.allclose(decayed.loss - plain.loss, decayed.centre_loss - plain.centre_loss)


def test_a_copy_that_moves_over_a_plane_has_the_penalty(make: Callable[..., Objective]) -> None:
    objective = make(weight_decay=RATE)
    copy, batch = WorkingCopy(objective), next(objective.micro_batches())
    assert copy.replica is not None
    copy.move_to([objective.theta], [0.5])
    torch.testing.assert_close(copy.output_and_total(batch)[1], objective.batch_total(1.5 * objective.theta, batch))


def test_the_rate_decides_the_fingerprint(make: Callable[..., Objective]) -> None:
    rates: list[dict[str, Any]] = [{}, {"weight_decay": RATE}, {"weight_decay": RATE, "decay_params": ("0.*",)}]
    assert len({make(**one).identity()["loss"] for one in rates}) == 3


@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(EmpiricalFisherOperator, id="empirical-fisher"),
        pytest.param(PyHessianOperator, id="pyhessian"),
        pytest.param(lambda objective: landscape.run(landscape.Memorization(), objective), id="memorization"),
    ],
)
def test_what_is_made_of_samples_alone_refuses_weight_decay(
    make: Callable[..., Objective], measure: Callable[[Objective], LinearOperator]
) -> None:
    with pytest.raises(UsageError, match="--weight-decay"):
        measure(make(weight_decay=RATE))


def test_a_glob_that_matches_nothing_or_decays_nothing_is_refused(make: Callable[..., Objective]) -> None:
    with pytest.raises(UsageError, match="--decay-params 9"):
        make(weight_decay=RATE, decay_params=("9.*",))
    with pytest.raises(UsageError, match="--decay-params without --weight-decay"):
        make(decay_params=("0.*",))


def test_samples_whose_targets_are_ignored_have_no_penalty_of_their_own(make: Callable[..., Objective]) -> None:
    """The penalty is in the mean once, whatever the loss counts."""
    objective = make(weight_decay=RATE)
    parts: list[Tensor] = [part.count * part.value() for part in objective.parts(4)]
    assert float(sum(parts) / objective.count) == pytest.approx(float(objective.value()), rel=1e-12)


def test_globs_with_an_exclamation_mark_leave_parameters_out_together(make: Callable[..., Objective]) -> None:
    def decayed(*globs: str) -> frozenset[str]:
        decay = make(weight_decay=RATE, decay_params=globs).decay
        assert decay is not None
        return decay.names

    assert decayed("!*.bias", "!0.*") == {"2.weight"}
    assert decayed("*.weight", "!0.*") == {"2.weight"}
    with pytest.raises(UsageError, match=r"matches --decay-params \*\.bais"):
        decayed("!*.bais")
    with pytest.raises(UsageError, match="leaves no parameter"):
        decayed("!*.bias", "!*.weight")


def test_a_fingerprint_knows_which_parameters_decay_and_each_digit_of_the_rate(make: Callable[..., Objective]) -> None:
    settings = [(RATE, ("*.weight",)), (RATE, ("*.bias",)), (RATE, ()), (RATE + 1e-9, ()), (RATE + 1e-9, ("*.bias",))]
    found = [make(weight_decay=rate, decay_params=globs).identity()["loss"] for rate, globs in settings]
    assert len(set(found)) == len(settings)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(make: Callable[..., Objective], rate: float) -> None:
    with pytest.raises(UsageError, match="is no rate"):
        make(weight_decay=rate)
