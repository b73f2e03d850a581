"""--data-error of the leading eigenvalue, against the value of all data and closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from torch import nn

import landscape
from landscape import Eig, Objective, Trace, session
from landscape.errors import TaskError, UsageError
from landscape.storage.read import read_results

MANY = 2000


def regression(samples: int = MANY, sort: bool = False) -> Objective:
    """A linear regression on three inputs: the Hessian is twice their second moments, which are 9, 1 and 1."""
    x = torch.randn(samples, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x[:, 0] *= 3
    if sort:
        x = x[x[:, 0].abs().argsort()]
    return Objective(nn.Linear(3, 1, bias=False), (x, x[:, :1]), "mse", dtype="float64")


@pytest.mark.parametrize("sort", [False, True], ids=["in any order", "sorted"])
def test_the_error_is_that_of_a_second_moment(sort: bool) -> None:
    result = landscape.run(Eig(k=1, data_error="7%"), regression(sort=sort))
    assert result.trouble() is None
    assert result.samples in (256, 512, 1024)
    assert result.data_samples == MANY
    assert result.data_error == pytest.approx(math.sqrt(2 / result.samples), rel=0.4)  # of a mean of squares
    assert result.data_error <= 1.05 * result.data_error_target == pytest.approx(1.05 * 0.07)
    assert result.tol == pytest.approx(0.007)


@pytest.mark.parametrize("target", ["30%", "15%"])
def test_the_value_of_all_data_is_reached_over_draws(target: str) -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    whole = landscape.run(Eig(k=1), objective).eigenvalues[0]
    share = float(target.removesuffix("%")) / 100
    results = [landscape.run(Eig(k=1, data_error=target, seed=seed, confirm=0), objective) for seed in range(6)]
    errors = np.array([result.eigenvalues[0] / whole - 1 for result in results])
    assert all(result.samples < 1300 for result in results)
    assert math.sqrt((errors**2).mean()) <= share
    assert (np.abs(errors) <= 2 * share).all()


def test_data_that_do_not_suffice_are_named() -> None:
    objective = regression(samples=100)
    result = landscape.run(Eig(k=1, data_error="1%"), objective)
    trouble = result.trouble()
    assert trouble is not None
    assert "with all 100 samples, 1 % was asked for" in trouble.why
    assert trouble.fix == "more data, or a larger --data-error"
    assert result.eigenvalues[0] == pytest.approx(landscape.run(Eig(k=1), objective).eigenvalues[0], rel=1e-3)


def test_fewer_samples_than_the_first_part_are_all_taken() -> None:
    result = landscape.run(Eig(k=1, data_error="90%"), regression(samples=10))
    assert (result.samples, result.data_samples) == (10, 10)


def test_a_uniform_shift_by_weight_decay_makes_the_relative_error_smaller() -> None:
    x = torch.randn(MANY, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    decayed = Objective(nn.Linear(3, 1, bias=False), (x, x[:, :1]), "mse", dtype="float64", weight_decay=100.0)
    result = landscape.run(Eig(k=1, data_error="5%"), decayed)
    assert result.samples == 64
    assert result.eigenvalues[0] == pytest.approx(102, rel=0.02)
    assert result.data_error < 0.02


def test_what_is_no_sum_over_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="--data-error cannot take apart --operator pyhessian"):
        landscape.run(Eig(k=1, data_error="5%", operator="pyhessian"), regression())
    given = regression().variant(as_given=True)
    with pytest.raises(
        UsageError, match=r"--data-error needs samples that.*\n.*where batches end.*\n.*leave --data-error out"
    ):
        landscape.run(Eig(k=1, data_error="5%"), given)


def test_a_single_sample_is_refused_in_words_of_the_option() -> None:
    with pytest.raises(UsageError, match=r"--data-error 5% of a single sample\n(?s:.*)more data") as refusal:
        landscape.run(Eig(k=1, data_error="5%"), regression(samples=1))
    assert "--resample" not in str(refusal.value)


def sparse(counted: list[int]) -> Objective:
    """A classifier of whose 2,000 targets all but these are ignored."""
    x = torch.randn(MANY, 4, generator=torch.Generator().manual_seed(0))
    y = torch.full((MANY,), -100)
    y[counted] = 1
    torch.manual_seed(0)
    return Objective(nn.Linear(4, 3), (x, y), "cross_entropy", dtype="float64")


@pytest.mark.parametrize("analysis", [Eig(k=1, data_error="10%"), Trace(data_error="10%")], ids=["eig", "trace"])
def test_samples_are_doubled_until_the_loss_counts_some(analysis: Eig | Trace) -> None:
    objective = sparse([0, 1, 2])
    assert landscape.run(analysis, objective).trouble() is not None  # three terms do not tell an error of 10 %
    alone = landscape.run(analysis, sparse([0]))
    assert np.isnan(alone.data_error)  # an error of 0 would be wrong: one term has nothing to compare with
    assert "error by the data not known with all 2000 samples" in str(alone.trouble())


def test_a_loss_that_counts_nothing_at_all_is_still_an_error() -> None:
    with pytest.raises(TaskError, match="the loss counts nothing"):
        landscape.run(Eig(k=1, data_error="10%"), sparse([]))


def test_one_group_that_counts_leaves_the_error_unknown() -> None:
    result = landscape.run(Eig(k=1, resample=4), sparse([0, 1]))
    assert np.isnan(result.data_standard_errors[0])
    assert any("its error by the choice of samples is not known" in remark for remark in result.remarks())


def test_the_samples_and_errors_are_stored(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    record = session.execute(Eig(k=1, data_error="20%"), regression(), output=output)
    stored, samples = read_results(output)["eig"].values, record.result.samples
    assert stored["data_error"] == record.result.data_error
    assert (stored["samples"], stored["data_samples"], stored["data_error_target"]) == (samples, MANY, 0.2)
    assert any(f"with {samples} of 2000 samples, 20 % was asked for" in line for line in record.result.remarks())
