"""What the analyses of a curvature matrix share: whose products are taken, and over which parameters."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from landscape.analyses.base import Analysis
from landscape.fields import option

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

Kind = Literal["hessian", "ggn", "fisher", "empirical-fisher", "preconditioned", "pyhessian"]


@dataclass(frozen=True)
class Curvature(Analysis):
    """An analysis of a symmetric matrix on the parameters, the Hessian unless another is asked for."""

    operator: Kind = option("hessian", help="The matrix: hessian (or PyHessian's own products of it), ggn, fisher, ...")
    labels: int = option(1, help="Labels drawn for each sample or token, with --operator fisher.", min=1)
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def matrix(self, objective: Objective) -> LinearOperator:
        """The operator whose spectrum is asked for."""
        from landscape import operators

        return operators.operator(self.operator, objective, seed=self.seed, labels=self.labels)

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        if self.operator != "preconditioned":
            return {}
        diagonal = objective.preconditioner.cpu().contiguous().numpy()
        return {"preconditioner": hashlib.sha256(diagonal.data).hexdigest()}

    def seconds_per_product(self, objective: Objective, columns: int = 1) -> float:
        """The time of a product with one column over all data, of `columns` taken together.

        Extrapolated from one micro-batch after a warm-up.
        """
        import torch

        trial = objective.first(objective.micro_batch)
        operator = self.matrix(trial)
        block = torch.ones((operator.size, columns), dtype=operator.like.dtype, device=operator.like.device)
        for _ in range(2):  # the first is the warm-up
            began = time.perf_counter()
            float(operator.matmat(block)[0, 0])  # reading a number waits for the device
            seconds = time.perf_counter() - began
        return seconds / columns * objective.batches.samples / trial.batches.samples
