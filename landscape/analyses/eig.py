"""The largest, smallest or both ends' eigenpairs of the Hessian, by Lanczos."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import Plan, Progress, Result, State
from landscape.analyses.curvature import Curvature
from landscape.errors import UsageError
from landscape.fields import array, option, scalar

if TYPE_CHECKING:
    import numpy as np

    from landscape.algorithms.state import LanczosState, Wanted
    from landscape.objective import Objective

BASIS_SHARE = 4  # the basis may take a quarter of the memory that is free
ROOMY = (4, 80)  # 4 k + 80 vectors: an unrestarted run needs about 3 k + 10 on real spectra (20 of an MLP: 57)
EXPECTED = (3.3, 12)  # products until convergence, 3.3 k + 12: k = 5 took 12 on trained nets, 57 on an untrained one


@dataclass(frozen=True)
class EigResult(Result):
    """Eigenvalues with what is known of their errors.

    `vectors` `(P, k)` are the unit eigenvectors as columns; they are kept beside the results file, if at all.
    """

    tables: ClassVar[tuple[str, ...]] = ("rank", "layer")

    eigenvalues: np.ndarray = array("rank", help="Eigenvalue of the mean loss' Hessian.")
    residuals: np.ndarray = array("rank", help="||H v - lambda v|| of the unit vector v, with rounding.")
    error_bounds: np.ndarray = array(
        "rank", help="min(r, r^2 / gap + rounding): the second assumes that no eigenvalue was missed."
    )
    converged: np.ndarray = array("rank", help="Whether the residual is at most tol |lambda|.")
    ritz_values: np.ndarray = array("iteration", "rank", help="The wanted values after each product.")
    ritz_residuals: np.ndarray = array("iteration", "rank", help="Their residuals.")
    tol: float = scalar("Largest residual asked for, relative to the eigenvalue.")
    products: int = scalar("Hessian-vector products over the full data.")
    search_products: int = scalar("Of these, spent by later starts in search of skipped eigenvalues.")
    rounding: float = scalar("What rounding may leave of a residual, as measured: part of each of them.")
    confirmed: bool = scalar("Whether a second, deflated start found nothing that was missed.")
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    pyhessian_eigenvalues: np.ndarray | None = array(
        "rank", help="PyHessian's power iteration on the same data.", optional=True
    )
    pyhessian_relative_difference: np.ndarray | None = array("rank", help="(PyHessian - ours) / |ours|.", optional=True)
    layer: np.ndarray | None = array("layer", help="Group of parameters, leading eigenvalue first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_eigenvalue: np.ndarray | None = array(
        "layer", help="Leading eigenvalue of its diagonal block.", optional=True
    )
    layer_residual: np.ndarray | None = array(
        "layer", help="Residual of that eigenvalue, with rounding.", optional=True
    )
    layer_converged: np.ndarray | None = array(
        "layer", help="Whether all its residuals are at most tol |lambda|.", optional=True
    )
    layer_eigenvalues: np.ndarray | None = array(
        "layer", "rank", help="The block's eigenvalues; NaN beyond its size.", optional=True
    )
    layer_residuals: np.ndarray | None = array("layer", "rank", help="Their residuals.", optional=True)
    vectors: np.ndarray | None = field(default=None, repr=False)

    def trouble(self) -> str:
        done = int(self.converged.sum())
        if done == len(self.converged):
            return ""
        return f"{done} of {len(self.converged)} eigenvalues converged in {self.products} products" + (
            f"; the rounding of the products, {self.rounding:.2g}, is too large for the others"
            if self._rounded()
            else ""
        )

    def remedy(self) -> str:
        if self._rounded():
            return "--dtype float64, or a larger --tol"
        return "the same command with a larger --max-products goes on from there, or a larger --tol"

    def _rounded(self) -> bool:
        """Whether rounding alone kept the values from converging."""
        import numpy as np

        lanczos = np.sqrt(np.maximum(self.residuals**2 - self.rounding**2, 0))
        return bool(
            (self.converged | (lanczos <= np.maximum(self.tol * np.abs(self.eigenvalues), self.rounding))).all()
        )

    def remarks(self) -> list[str]:
        if self.confirmed or self.trouble():
            return []
        return ["not confirmed: no second start looked for a skipped eigenvalue"]


@dataclass(frozen=True)
class Eig(Curvature):
    """Top-k eigenpairs of the Hessian by thick-restart Lanczos (Wu and Simon 2000) with full reorthogonalisation."""

    name: ClassVar[str] = "eig"
    summary: ClassVar[str] = "Top eigenvalues of the Hessian, each with its residual."
    result: ClassVar[type[Result]] = EigResult

    k: int = option(5, help="How many eigenvalues.", min=1, short="k")
    which: Literal["largest", "smallest", "magnitude", "both"] = option(
        "largest", help="Which end of the spectrum; both takes half from each."
    )
    tol: float = option(1e-3, help="Largest residual, relative to the eigenvalue.", min=0)
    max_products: int = option(1000, help="Give up after so many products (exit 3).", min=1, identity=False)
    max_basis: int | None = option(None, help="Vectors held at most; default from memory.", min=4)
    confirm: int = option(8, help="Products for a second start that looks for skipped eigenvalues; 0 for none.", min=0)
    cross_check: bool = option(False, help="Also run PyHessian's power iteration and report the difference.")
    save_vectors: bool = option(
        False, help="Write the eigenvectors beside the result, under the state dict's names.", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cross_check and self.which in ("smallest", "both"):
            raise UsageError(
                f"--cross-check cannot be combined with --which {self.which}",
                why="PyHessian's power iteration finds the values that are largest in magnitude",
                fix="--which largest or --which magnitude",
            )

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, EigResult]:
        from landscape.algorithms import lanczos, ritz
        from landscape.algorithms.state import LanczosState

        capacity = self._capacity(objective)
        wanted = self._wanted()
        operator = self.matrix(objective)
        reference = objective.reference
        earlier = LanczosState.from_arrays(dict(resume), operator.like) if resume else None
        state = earlier
        for state in lanczos.lanczos(
            operator, wanted, seed=self.seed, max_basis=capacity, max_products=self.max_products, resume=earlier
        ):
            yield self._progress(state, wanted)
        assert state is not None  # max_products >= 1
        pairs = ritz.refined(ritz.ritz(state, wanted), state, wanted)
        result = EigResult(
            eigenvalues=self._padded(pairs.values),
            residuals=self._padded(ritz.true_residuals(pairs.residuals, state)),
            error_bounds=self._padded(ritz.error_bounds(pairs, state)),
            converged=self._padded(ritz.converged(pairs, state, self.tol)) == 1,
            ritz_values=state.value_history,
            ritz_residuals=ritz.true_residuals(state.residual_history, state),
            tol=self.tol,
            products=state.products,
            search_products=state.search_products,
            rounding=state.noise,
            confirmed=self.confirm > 0 and lanczos.finished(state, wanted),
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            parameters=objective.space.size,
            samples=objective.batches.samples,
            vectors=ritz.vectors(pairs, state.basis).T.cpu().numpy(),
        )
        return self._cross_checked(result, objective) if self.cross_check else result

    def plan(self, objective: Objective) -> Plan:
        rows = self._capacity(objective)
        search = self.confirm + 1 if self.confirm else 0  # the one measures the rounding
        products = min(round(EXPECTED[0] * self.k + EXPECTED[1]) + search, self.max_products)
        seconds = self.seconds_per_product(objective)
        return Plan(
            bytes=rows * objective.theta.nbytes,
            products=products,
            seconds=(seconds + _seconds_per_row(objective) * min(rows, products) / 2)
            * (products + 1),  # loss and gradient
            facts={"basis": f"{rows} vectors", "product": f"{seconds:.3g} s"},
        )

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        import torch

        if not self.save_vectors or result.vectors is None:
            return {}
        rows = torch.from_numpy(result.vectors.T)
        parts = [objective.space.unflatten(row) for row in rows]
        return {"eig.safetensors": {name: torch.stack([part[name] for part in parts]).numpy() for name in parts[0]}}

    def _padded(self, known: np.ndarray) -> np.ndarray:
        """`(k,)`, NaN where the run was given up before as many values were known."""
        import numpy as np

        return np.concatenate([known, np.full(self.k - len(known), np.nan)])

    def _wanted(self) -> Wanted:
        from landscape.algorithms.state import Wanted

        return Wanted(self.k, self.which, self.tol, self.confirm)

    def _capacity(self, objective: Objective) -> int:
        """Rows of the basis; raises UsageError if k is too large for the parameters or for the rows."""
        from landscape import memory
        from landscape.algorithms.lanczos import SPARE

        size = objective.space.size
        if self.k > size:
            raise UsageError(f"-k {self.k} eigenvalues of {size} parameters", fix=f"-k {size} or fewer")
        fitting = memory.available(objective.device) // BASIS_SHARE // objective.theta.nbytes
        rows = min(self.max_basis or min(ROOMY[0] * self.k + ROOMY[1], fitting), size)
        if rows < min(self.k + SPARE, size):
            raise UsageError(
                f"{rows} basis vectors are too few for {self.k} eigenvalues",
                why="" if self.max_basis else f"only so many of {objective.theta.nbytes:.3g} bytes fit into memory",
                fix=f"--max-basis {self.k + SPARE} or more, or a smaller -k",
            )
        return rows

    def _progress(self, state: LanczosState, wanted: Wanted) -> Progress:
        from landscape.algorithms import ritz

        pairs = ritz.ritz(state, wanted)
        done = int(ritz.converged(pairs, state, self.tol).sum())
        note = f"{state.products} products"
        if state.cycle:
            note += f", looking for skipped values {min(state.cycle_products, self.confirm)}/{self.confirm}"
        elif len(pairs.values):
            note += f", largest {pairs.values[0]:.5g}"
        return Progress(done, self.k, note, state.arrays)

    def _cross_checked(self, result: EigResult, objective: Objective) -> EigResult:
        import numpy as np

        from landscape.algorithms.selection import select
        from landscape.operators import PyHessianOperator

        theirs = np.array(PyHessianOperator(objective).power_iteration(self.k, self.seed))
        theirs = theirs[select(theirs, self.k, self.which)]
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = (theirs - result.eigenvalues) / np.abs(result.eigenvalues)
        return replace(result, pyhessian_eigenvalues=theirs, pyhessian_relative_difference=difference)


def _seconds_per_row(objective: Objective) -> float:
    """The time of orthogonalising one vector against one row of the basis."""
    import torch

    from landscape.algorithms.basis import orthogonalise

    rows = torch.zeros((2, objective.space.size), dtype=objective.dtype, device=objective.device)
    began = time.perf_counter()
    orthogonalise(objective.theta.clone(), rows)
    return (time.perf_counter() - began) / len(rows)
