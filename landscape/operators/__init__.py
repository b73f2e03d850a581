"""Symmetric matrices on the parameter space, known by their products with blocks of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from landscape.choices import OperatorName
from landscape.errors import UsageError
from landscape.objective import Objective
from landscape.operators.base import BlockDiagonalOperator, LinearOperator
from landscape.operators.gauss_newton import EmpiricalFisherOperator, FisherOperator, GaussNewtonOperator
from landscape.operators.hessian import HessianOperator
from landscape.operators.preconditioned import PreconditionedOperator
from landscape.operators.pyhessian import PyHessianOperator
from landscape.operators.scaled import ScaledOperator
from landscape.operators.summed import SummedOperator

OPERATORS: Mapping[OperatorName, Callable[[Objective], LinearOperator]] = MappingProxyType(
    {
        "hessian": HessianOperator,
        "ggn": GaussNewtonOperator,
        "fisher": FisherOperator,
        "empirical-fisher": EmpiricalFisherOperator,
        "preconditioned": lambda o: PreconditionedOperator(HessianOperator(o), o.preconditioner),
        "pyhessian": PyHessianOperator,
    }
)


def operator(name: OperatorName, objective: Objective, *, seed: int = 0, labels: int = 1) -> LinearOperator:
    """The operator of that name at the objective's theta; `seed` and `labels` are options of the Fisher matrix.

    Raises UsageError for an operator that the setting `--hvp linearize` cannot multiply.
    """
    if objective.settings.hvp == "linearize" and name not in ("hessian", "preconditioned"):
        raise UsageError(f"--hvp linearize traces products of the Hessian, not of --operator {name}", fix="--hvp auto")
    if name == "fisher":
        return FisherOperator(objective, seed=seed, labels=labels)
    return OPERATORS[name](objective)


__all__ = [
    "OPERATORS",
    "BlockDiagonalOperator",
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
