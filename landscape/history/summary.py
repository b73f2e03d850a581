"""A few numbers of a history: the first of each quantity with an error, at the last step and where it is largest.

And a sentence about the largest eigenvalue beside the edge of stability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from landscape.analyses.numbers import number, with_error
from landscape.history.history import History


def headline_numbers(histories: Sequence[History]) -> Iterator[tuple[str, int | None, str]]:
    """The name, the place (None of a scalar) and the description of what all of the histories hold.

    That is the loss, the norm of the gradient, and of all that has an error the first element. What has a name for each
    element, such as a layer or an estimator, is left out: the first one of two runs may be another.
    """
    for name, about in histories[0].quantities.items():
        held = all(name in one for one in histories)
        if held and (about.error or name in ("loss", "gradient_norm")):
            dimensions = {one[name].ndim for one in histories}
            if dimensions == {1}:
                yield name, None, about.help
            elif dimensions == {2} and not _has_names(histories[0], about.dims[-1]):
                yield name, 0, about.help


def _has_names(history: History, dimension: str) -> bool:
    """Whether the places along a dimension have names."""
    coordinate = history.quantities.get(dimension)
    return coordinate is not None and coordinate.words


def last_known(history: History, name: str, place: int | None) -> int | None:
    """Where the last moment is that has a value; None if none has."""
    known = np.flatnonzero(np.isfinite(series(history, name, place)[0]))
    return int(known[-1]) if len(known) else None


def largest(history: History, name: str, place: int | None) -> int | None:
    """Where the moment of the largest value is; None if none has a value."""
    values = series(history, name, place)[0]
    return int(np.nanargmax(values)) if np.isfinite(values).any() else None


def value_at(history: History, name: str, place: int | None, moment: int | None) -> tuple[float, float | None]:
    """The value at a moment, and its error; NaN without one."""
    if moment is None:
        return float("nan"), None
    values, errors = series(history, name, place)
    return float(values[moment]), None if errors is None else float(errors[moment])


def series(history: History, name: str, place: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """One number over the steps, and its errors."""
    values, errors = history[name], history.error_of(name)
    if place is None:
        return values, errors
    return values[:, place], None if errors is None or errors.ndim < 2 else errors[:, place]


NEAR_EDGE = 0.1  # relative: gradient descent hovers about the edge (Cohen et al. 2021, figure 1)


def meaning(history: History) -> str:
    """Where the largest eigenvalue was first and last, beside the edge of stability, and how often it was near.

    "" if that is not known.
    """
    if "eig.eigenvalues" not in history or "edge" not in history:
        return ""
    values, errors = series(history, "eig.eigenvalues", 0)
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(history["edge"]))
    if len(known) < 2:
        return ""
    first, last = (_beside_edge(history, values, errors, int(step)) for step in known[[0, -1]])
    near = int((abs(values[known] / history["edge"][known] - 1) <= NEAR_EDGE).sum())
    return (
        f"lambda_1 is {first} at step {history.steps[known[0]]}, and {last} at step {history.steps[known[-1]]}; "
        f"within {100 * NEAR_EDGE:g} % of the edge at {near} of {len(known)} steps"
    )


def _beside_edge(history: History, values: np.ndarray, errors: np.ndarray | None, step: int) -> str:
    """The value with its error and that of the edge, and how many per cent above or below it, unless that is open."""
    value, edge = float(values[step]), float(history["edge"][step])
    error = None if errors is None else float(errors[step])
    open_side = abs(value - edge) <= (error if error is not None and np.isfinite(error) else 0.0)
    side = "at" if open_side else f"{100 * abs(value / edge - 1):.2g} % {'above' if value > edge else 'below'}"
    return f"{with_error(value, error, bound=True)}, {side} the edge of stability {number(edge)}"
