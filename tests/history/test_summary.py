"""The last and the largest values of a history."""

from __future__ import annotations

import math

import numpy as np

from landscape.history import History, Moment, Quantity
from landscape.history.summary import headline_numbers, largest, last_known, meaning, value_at

QUANTITIES = {
    "eig.eigenvalues": Quantity(("eig.rank",), error="eig.error_bounds"),
    "eig.error_bounds": Quantity(("eig.rank",)),
}


def made(*values: float) -> History:
    history = History()
    for step, value in enumerate(values):
        numbers = {"loss": value, "eig.eigenvalues": np.array([value, 0.0]), "eig.error_bounds": np.array([step, 9.0])}
        history = history.with_moment(Moment(step, f"{step}.pt", numbers), QUANTITIES)
    return history


def test_the_largest_and_the_last_known_value_have_their_own_errors() -> None:
    history = made(1.0, 5.0, 2.0, math.nan)
    assert (last_known(history, "eig.eigenvalues", 0), largest(history, "eig.eigenvalues", 0)) == (2, 1)
    assert value_at(history, "eig.eigenvalues", 0, 2) == (2.0, 2.0)
    assert value_at(history, "eig.eigenvalues", 0, 1) == (5.0, 1.0)
    assert value_at(history, "loss", None, 2) == (2.0, None)


def test_without_a_known_value_there_is_none() -> None:
    assert largest(made(math.nan), "loss", None) is None
    value, error = value_at(made(math.nan), "loss", None, last_known(made(math.nan), "loss", None))
    assert math.isnan(value)
    assert error is None


def test_numbers_are_those_that_all_runs_hold() -> None:
    names = [(name, place) for name, place, _ in headline_numbers([made(1.0), made(2.0)])]
    assert names == [("loss", None), ("eig.eigenvalues", 0)]
    assert [name for name, *_ in headline_numbers([made(1.0), History().with_values(0, "a", {"loss": 1.0})])] == [
        "loss"
    ]


def beside(values: list[float], edges: list[float], error: float = 0.1) -> History:
    """The largest eigenvalue of each step with an error, and the edge of stability."""
    history = History()
    about = {**QUANTITIES, "edge": Quantity(())}
    for step, (value, edge) in enumerate(zip(values, edges, strict=True)):
        numbers = {"eig.eigenvalues": np.array([value]), "eig.error_bounds": np.array([error]), "edge": edge}
        history = history.with_moment(Moment(step, f"{step}.pt", numbers), about)
    return history


def test_the_first_and_the_last_eigenvalue_stand_beside_the_edge() -> None:
    found = beside([5.0, 70.0, 21.0, math.nan], [20.0, 20.0, 20.0, 20.0])
    assert meaning(found) == (
        "lambda_1 is 5.00 ± 0.10, 75 % below the edge of stability 20 at step 0, and 21.00 ± 0.10, 5 % above the edge "
        "of stability 20 at step 2; within 10 % of the edge at 1 of 3 steps"
    )
    assert "21.0 ± 2.0, at the edge of stability 20 at step 1" in meaning(beside([5.0, 21.0], [20.0, 20.0], error=2.0))
    assert meaning(beside([5.0], [20.0])) == ""
    assert meaning(beside([5.0, 21.0], [math.nan, 20.0])) == ""
    assert meaning(made(1.0, 2.0)) == ""


def test_numbers_with_names_for_their_elements_are_no_headlines() -> None:
    """The first layer, or estimator, of one run may be another than that of the other."""
    about = {
        "trace.estimator": Quantity(("trace.estimator",), words=True),
        "trace.estimator_trace": Quantity(("trace.estimator",), error="trace.estimator_standard_error"),
        "trace.estimator_standard_error": Quantity(("trace.estimator",)),
        "trace.trace": Quantity((), error="trace.standard_error"),
        "trace.standard_error": Quantity(()),
    }
    numbers = {
        "loss": 1.0, "trace.estimator": np.array(["xtrace", "hutch++"]), "trace.estimator_trace": np.array([3.0, 4.0]),
        "trace.estimator_standard_error": np.array([0.1, 0.2]), "trace.trace": 3.0, "trace.standard_error": 0.1,
    }  # fmt: skip
    history = History().with_moment(Moment(0, "0.pt", numbers), about)
    assert [name for name, *_ in headline_numbers([history, history])] == ["loss", "trace.trace"]
