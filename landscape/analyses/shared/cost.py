"""The cost of a measurement: its work in gradients of the loss over the full data, beside its products in results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from landscape.analyses.base import Result
from landscape.fields import scalar

ResultT = TypeVar("ResultT", bound=Result)


def cost_scalar() -> Any:
    """The field `cost_gradients` of a result; None in files of versions that did not count."""
    return scalar(
        "Work in gradients of the loss over the full data: by what products are known to cost where their graphs have "
        "room, and a third for a loss alone.",
        optional=True,
        kw_only=True,
        label="work in gradients",
    )


def add_cost(result: ResultT, gradients: float) -> ResultT:
    """The result whose cost is higher by so many gradients."""
    cost = getattr(result, "cost_gradients", None) or 0.0
    return replace(result, cost_gradients=cost + gradients)  # type: ignore[call-arg]
