"""What the analyses of a curvature matrix share: whose products are taken, and over which parameters."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from landscape.analyses.base import Analysis
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

BLOCK_COST = 0.15  # of a product for each block: 39 of digits-resnet took 6 products' time, 16 of charlm 1.8
OperatorName = Literal["hessian", "ggn", "fisher", "empirical-fisher", "preconditioned", "pyhessian"]


@dataclass(frozen=True)
class Curvature(Analysis):
    """An analysis of a symmetric matrix on the parameters, the Hessian unless another is asked for."""

    operator: OperatorName = option(
        "hessian", title=True, help="The matrix: hessian (or PyHessian's own products of it), ggn, fisher, ..."
    )
    labels: int = option(1, help="Labels drawn for each sample or token, with --operator fisher.", min=1)
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)
    per_layer: bool = option(False, help="Also measure the diagonal block of every module that owns parameters.")
    blocks: tuple[str, ...] = option(
        (), help="Also measure the diagonal block of these parameters, a glob over names. Repeatable."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_layer and self.blocks:
            raise UsageError("--per-layer and --blocks are two ways of choosing", fix="one of them")

    def matrix(self, objective: Objective) -> LinearOperator:
        """The operator whose spectrum is asked for."""
        from landscape import operators

        return operators.operator(self.operator, objective, seed=self.seed, labels=self.labels)

    def groups(self, objective: Objective) -> tuple[ParameterGroup, ...]:
        """The groups of parameters whose diagonal blocks are asked for; none by default."""
        if self.blocks:
            return objective.space.groups_matching(self.blocks)
        return objective.space.layers() if self.per_layer else ()

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

    def product_facts(self, objective: Objective, columns: int = 1) -> tuple[dict[str, str], int]:
        """For a plan: how products with so many columns are made, once they were tried, and what they take in bytes."""
        from landscape.operators import PreconditionedOperator, SummedOperator

        operator = self.matrix(objective)
        inner = operator.inner if isinstance(operator, PreconditionedOperator) else operator
        if not isinstance(inner, SummedOperator):
            return {}, 0
        way = objective.engine.ways[inner.work(columns)]
        size = inner.planned_bytes(columns, way)
        return {"hvp": f"{way}, {size / 1e6:,.1f} MB of graphs and columns"}, size


@dataclass(frozen=True)
class Resampled(Curvature):
    """An analysis that can also tell what another draw of the samples would change."""

    resample: int = option(
        0, help="Groups of samples for a jackknife error of the data, beside the algorithm's; 0 for none.", min=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resample == 1:
            raise UsageError("--resample 1 leaves nothing to compare", fix="--resample 20, or any number from 2")

    def quadratics(
        self, operator: LinearOperator, objective: Objective, block: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """v'S v of every column of `(P, K)` with each group's own sum S, and the counts: `(G, K)` and `(G,)`."""
        from landscape.algorithms.estimators.resampling import group_ends
        from landscape.operators import PreconditionedOperator, SummedOperator

        assert isinstance(operator, SummedOperator | PreconditionedOperator)  # by require_resampling
        sums, counts = operator.quadratics(block, group_ends(objective.batches.samples, self.resample))
        return sums.cpu().numpy(), counts.cpu().numpy()

    def require_resampling(self, operator: LinearOperator, objective: Objective) -> None:
        """Raises UsageError for fewer samples than groups, or an operator that cannot be taken apart."""
        samples = objective.batches.samples
        if self.resample > samples:
            raise UsageError(f"--resample {self.resample} groups of {samples} samples", fix=f"--resample {samples}")
        if self.resample and not hasattr(operator, "quadratics"):
            raise UsageError(f"--resample cannot take apart --operator {self.operator}", fix="--operator hessian")
