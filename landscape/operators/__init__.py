"""Symmetric matrices on the parameter space, known by their products with blocks of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from landscape.choices import OperatorName
from landscape.compute.strategy import Hvp
from landscape.errors import UsageError
from landscape.objective import Objective
from landscape.objective.sharded.objective import ShardedObjective
from landscape.operators.base import BlockDiagonalOperator, LinearOperator
from landscape.operators.gauss_newton import EmpiricalFisherOperator, FisherOperator, GaussNewtonOperator
from landscape.operators.hessian import HessianOperator
from landscape.operators.preconditioned import PreconditionedOperator
from landscape.operators.pyhessian import PyHessianOperator
from landscape.operators.scaled import ScaledOperator
from landscape.operators.sharded import ShardedHessian
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

    Raises UsageError for an operator that the settings `--hvp linearize` and `--hvp difference` cannot multiply.
    """
    if isinstance(objective, ShardedObjective):
        if name != "hessian":
            raise UsageError(
                f"--shard on multiplies by the Hessian, not by --operator {name}", fix="--operator hessian"
            )
        return ShardedHessian(objective)
    if name not in ("hessian", "preconditioned"):
        _require_any_matrix(name, objective.settings.hvp)
    if name == "fisher":
        return FisherOperator(objective, seed=seed, labels=labels)
    return OPERATORS[name](objective)


def _require_any_matrix(name: OperatorName, hvp: Hvp) -> None:
    """Raises UsageError where a setting is for products of the Hessian alone."""
    if hvp == "linearize":
        raise UsageError(f"--hvp linearize traces products of the Hessian, not of --operator {name}", fix="--hvp auto")
    if hvp == "difference":
        raise UsageError(
            f"--hvp difference takes differences of gradients, which are products of the Hessian, not of --operator "
            f"{name}",
            fix="--operator hessian, or --hvp auto",
        )


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
