"""The texts of a result's columns: errors, what is not determined, and what does not apply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tanh_net
from drawn_traces import drawn_trace, rows

import landscape
from landscape import Density, Eig, Objective
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape_cli.result_tables import print_measurements

Captured = pytest.CaptureFixture[str]


def test_numbers_below_their_standard_error_are_not_determined(capsys: Captured) -> None:
    print_measurements([("run", drawn_trace(), 1.0)])
    assert "not determined" not in capsys.readouterr().out
    print_measurements([("run", drawn_trace(standard_error=2.5, layer_standard_error=np.array([0.1, 0.3])), 1.0)])
    out = capsys.readouterr().out
    assert "2.0 ± 2.5 (not determined)" in out
    first, second = (next(line for line in out.splitlines() if name in line) for name in ("first", "second"))
    assert "1.5" in first
    assert "not determined" not in first
    assert "-0.25 ± 0.30 (n.d.)" in second
    assert "n.d.: not determined" in out


@pytest.mark.parametrize(
    ("error", "written"),
    [(1.9, "2.0 ± 1.9"), (0.0, "2"), (float("nan"), "2"), (2.0, "2.0 ± 2.0 (not determined)")],
)
def test_a_smaller_error_or_an_unknown_one_leaves_the_number(error: float, written: str, capsys: Captured) -> None:
    print_measurements([("run", drawn_trace(standard_error=error), 1.0)])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["trace"])
    assert line.split(maxsplit=1)[1].strip() == written


def test_an_estimate_in_the_table_of_scalars_is_not_determined_and_its_error_stays(capsys: Captured) -> None:
    objective = Objective(tanh_net(), [(torch.randn(8, 5), torch.tensor([0, 1] * 4))], "cross_entropy")
    result = replace(landscape.run(Density(steps=5), objective), negative_mass=0.21, negative_mass_se=0.56)
    print_measurements([("run", result, 1.0)])
    line = next(line for line in capsys.readouterr().out.splitlines() if "negative eigenvalues" in line)
    assert line.split() == ["negative", "eigenvalues", "21", "±", "56", "%", "(not", "determined)"]


def test_a_bound_of_an_error_does_not_replace_its_number(capsys: Captured) -> None:
    """An eigenvalue of zero is known to its bound, which is larger than it."""
    objective = Objective(tanh_net(), [(torch.randn(8, 5), torch.tensor([0, 1] * 4))], "cross_entropy")
    result = landscape.run(Eig(k=2), objective)
    print_measurements([("run", replace(result, error_bounds=10 * result.eigenvalues), 1.0)])
    assert "not determined" not in capsys.readouterr().out


def test_columns_of_what_does_not_apply_are_left_out_and_single_cells_have_a_dash(capsys: Captured) -> None:
    nothing, some = np.full(2, np.nan), np.array([0.5, np.nan])
    print_measurements([("run", drawn_trace(layer_share=nothing), 1.0)])
    assert "nan" not in (out := capsys.readouterr().out)
    assert "share" not in out
    print_measurements([("run", drawn_trace(layer_share=some), 1.0)])
    out = capsys.readouterr().out
    assert "nan" not in out
    assert rows(out, "first")[0][-2:] == ["50", "%"]
    assert rows(out, "second")[0][-1] == "-"


def test_a_loss_that_is_not_finite_is_printed(capsys: Captured) -> None:
    result = SharpnessResult(
        rho=np.array([1.0]), s_max=np.array([np.nan]), resolved=np.array([True]), loss=1.0, gradient_norm=1.0,
        average_rho=np.array([1.0]), rounding=1e-6, gradients=60, draws=20, m=8, parameters=5, samples=8,
    )  # fmt: skip
    print_measurements([("run", result, 1.0)])
    assert rows(capsys.readouterr().out, "1")[0][1] == "nan"
