"""Symmetric matrices on the parameter space, known by their products with blocks of columns."""

from __future__ import annotations

from collections.abc import Callable

from landscape.errors import UsageError
from landscape.objective import Objective
from landscape.operators.base import LinearOperator
from landscape.operators.gauss_newton import EmpiricalFisherOperator, FisherOperator, GaussNewtonOperator
from landscape.operators.hessian import HessianOperator
from landscape.operators.preconditioned import PreconditionedOperator
from landscape.operators.pyhessian import PyHessianOperator
from landscape.operators.scaled import ScaledOperator
from landscape.operators.summed import SummedOperator

OPERATORS: dict[str, Callable[[Objective], LinearOperator]] = {
    "hessian": HessianOperator,
    "ggn": GaussNewtonOperator,
    "fisher": FisherOperator,
    "empirical-fisher": EmpiricalFisherOperator,
    "preconditioned": lambda objective: PreconditionedOperator(HessianOperator(objective), objective.preconditioner),
    "pyhessian": PyHessianOperator,
}


def operator(name: str, objective: Objective, *, seed: int = 0, labels: int = 1) -> LinearOperator:
    """The operator of that name at the objective's theta; `seed` and `labels` are the Fisher matrix'."""
    if objective.engine.hvp == "linearize" and name not in ("hessian", "preconditioned"):
        raise UsageError(f"--hvp linearize replays products of the Hessian, not of --operator {name}", fix="--hvp auto")
    if name == "fisher":
        return FisherOperator(objective, seed=seed, labels=labels)
    return OPERATORS[name](objective)


__all__ = [
    "OPERATORS",
    "EmpiricalFisherOperator",
    "FisherOperator",
    "GaussNewtonOperator",
    "HessianOperator",
    "LinearOperator",
    "PreconditionedOperator",
    "PyHessianOperator",
    "ScaledOperator",
    "SummedOperator",
    "operator",
]
