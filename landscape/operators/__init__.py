"""Symmetric matrices on the parameter space, known by their products with blocks of columns."""

from __future__ import annotations

from landscape.objective import Objective
from landscape.operators.base import LinearOperator
from landscape.operators.hessian import HessianOperator
from landscape.operators.pyhessian import PyHessianOperator

OPERATORS: dict[str, type[HessianOperator] | type[PyHessianOperator]] = {
    "hessian": HessianOperator,
    "pyhessian": PyHessianOperator,
}


def operator(name: str, objective: Objective) -> LinearOperator:
    """The operator of that name at the objective's theta."""
    return OPERATORS[name](objective)


__all__ = ["OPERATORS", "HessianOperator", "LinearOperator", "PyHessianOperator", "operator"]
