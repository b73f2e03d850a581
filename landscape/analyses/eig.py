"""The largest, smallest or both ends' eigenpairs of the Hessian, by Lanczos."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import Plan, Progress, Result, State, Trouble
from landscape.analyses.shared import per_layer as layers
from landscape.analyses.shared.curvature import BLOCK_COST, Resampled
from landscape.analyses.shared.phases import Phases
from landscape.errors import UsageError
from landscape.fields import Gauge, array, option, scalar
from landscape.storage.paths import EIGENVECTORS

if TYPE_CHECKING:
    import numpy as np

    from landscape.algorithms.lanczos.state import Candidates, LanczosState, WantedPairs
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

BASIS_SHARE = 4  # the basis may take a quarter of the memory that is free
MIN_ROWS = (2, 20)  # with fewer than 2 k + 20, restarts cost more products than a basis in the host's memory costs time
DEFAULT_ROWS = (4, 80)  # 4 k + 80 vectors: an unrestarted run needs about 3 k + 10 on real spectra (20 of an MLP: 57)
# products until convergence, 3.3 k + 12 + 5 (block - 1): k = 5 took 12 on trained nets, 57 on an untrained one
EXPECTED_PRODUCTS = (3.3, 12, 5)
MORE_PRODUCTS = "the same command with a larger --max-products resumes it, or a larger --tol with --restart"
MORE_PASSES = "--dtype float64 if the wanted values are tiny, a larger --max-basis (passes for a block), or --tol"
UNCONFIRMED = "not confirmed: no second start looked for a skipped eigenvalue"


@dataclass(frozen=True)
class EigResult(Result):
    """Eigenvalues with what is known of their errors.

    `vectors` `(P, k)` are the unit eigenvectors as columns; they are kept beside the results file, if at all.
    """

    tables: ClassVar[tuple[str, ...]] = ("rank", "layer")

    eigenvalues: np.ndarray = array(
        "rank",
        help="Eigenvalue of the matrix.",
        gauge=Gauge("error_bounds", floor="rounding", advice="gate on [0], with tol = 1e-3 or less in [check.eig]"),
    )
    residuals: np.ndarray = array("rank", help="||A v - lambda v|| of the unit vector v, with rounding.")
    error_bounds: np.ndarray = array(
        "rank", help="min(r, r^2 / gap + rounding): the second assumes that no eigenvalue was missed."
    )
    converged: np.ndarray = array("rank", help="Whether the residual is at most tol |lambda|.")
    ritz_values: np.ndarray = array("iteration", "rank", help="The wanted values after each step of the search.")
    ritz_residuals: np.ndarray = array("iteration", "rank", help="Their residuals.")
    tol: float = scalar("Largest residual asked for, relative to the eigenvalue.")
    products: int = scalar("Products with the matrix over the full data.")
    search_products: int = scalar("Of these, spent by later starts in search of skipped eigenvalues.")
    rounding: float = scalar("What rounding may leave of a residual, as measured: part of each of them.")
    confirmed: bool = scalar("Whether a second, deflated start found nothing that was missed.")
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    search_passes: int | None = scalar(
        "Passes over the data of these searches: fewer than products with --block.", optional=True
    )
    pyhessian_eigenvalues: np.ndarray | None = array(
        "rank", help="PyHessian's power iteration on the same data.", optional=True
    )
    pyhessian_relative_difference: np.ndarray | None = array("rank", help="(PyHessian - ours) / |ours|.", optional=True)
    data_standard_errors: np.ndarray | None = array(
        "rank", help="Standard error over samples of v'Hv: had others been drawn, with v as it is.", optional=True
    )
    certified_gap: float | None = scalar(
        "Gap of the certificate, relative to the width of the spectrum that was searched.", optional=True
    )
    certified_margin: float | None = scalar(
        "No eigenvalue that lies beyond the wanted ones by more than this was missed, ...", optional=True
    )
    certified_probability: float | None = scalar("... unless with this probability, at most.", optional=True)
    certified: bool | None = scalar("Whether the certificate that was asked for was reached.", optional=True)
    layer: np.ndarray | None = array("layer", help="Group of parameters, leading eigenvalue first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_eigenvalue: np.ndarray | None = array(
        "layer", help="Leading eigenvalue of its diagonal block.", optional=True, gauge=Gauge("layer_residual")
    )
    layer_residual: np.ndarray | None = array(
        "layer", help="Residual of that eigenvalue, with rounding.", optional=True
    )
    layer_converged: np.ndarray | None = array(
        "layer", help="Whether its values converged and a later start found no better ones.", optional=True
    )
    layer_eigenvalues: np.ndarray | None = array(
        "layer", "rank", help="The block's eigenvalues; NaN beyond its size.", optional=True
    )
    layer_residuals: np.ndarray | None = array("layer", "rank", help="Bounds of their residuals.", optional=True)
    layer_products: int | None = scalar("Passes over the data for all blocks together.", optional=True)
    vectors: np.ndarray | None = field(default=None, repr=False)

    def trouble(self) -> Trouble | None:
        """The first that applies: values did not converge, the certificate is missing, blocks did not converge."""
        done = int(self.converged.sum())
        if done < len(self.converged):
            why = f"{done} of {len(self.converged)} eigenvalues converged in {self.products} products"
            if not self._rounded():
                return Trouble(why, MORE_PRODUCTS)
            why += f"; the rounding of the products, {self.rounding:.2g}, is too large for the others"
            return Trouble(why, "--dtype float64, or a larger --tol")
        broken = self.layer_converged is not None and not self.layer_converged.all()
        if self.certified is False:
            why = f"not certified: the search for skipped values was cut short after {self.products} products"
            return Trouble(why, MORE_PASSES if broken else MORE_PRODUCTS)
        if self.layer_converged is not None and broken:
            why = f"{int(self.layer_converged.sum())} of {len(self.layer_converged)} blocks converged"
            return Trouble(why, MORE_PASSES)
        return None

    def not_gateable(self, field: str, place: tuple[int, ...]) -> str:
        searched = self.confirmed or field != "eigenvalues"
        return super().not_gateable(field, place) or ("" if searched else UNCONFIRMED)

    def _rounded(self) -> bool:
        """Whether rounding alone kept the values from converging."""
        import numpy as np

        lanczos = np.sqrt(np.maximum(self.residuals**2 - self.rounding**2, 0))
        return bool(
            (self.converged | (lanczos <= np.maximum(self.tol * np.abs(self.eigenvalues), self.rounding))).all()
        )

    def remarks(self) -> list[str]:
        remarks = []
        if not (self.confirmed or self.trouble()):
            remarks.append(UNCONFIRMED)
        if self.certified_gap is not None:
            remarks.append(
                f"certified: no eigenvalue beyond these by more than {self.certified_margin:.3g} was missed, "
                f"P(wrong) <= {self.certified_probability:.2g} (gap {self.certified_gap:g} of the width searched)"
            )
        if self.data_standard_errors is not None:
            data, algorithm = self.data_standard_errors[0], self.error_bounds[0]
            remarks.append(
                f"rank 0: standard error {data:.3g} by the choice of samples, error bound {algorithm:.3g} by the "
                f"algorithm: {'more samples' if data > algorithm else 'a smaller --tol'} would make it more certain"
            )
        return remarks


@dataclass(frozen=True)
class Rows:
    """How many rows the basis has, how many of them fit beside the data, and whether it lies in the host's memory."""

    count: int
    beside: int
    spill: bool


@dataclass(frozen=True)
class Eig(Resampled):
    """Top-k eigenpairs of the Hessian by thick-restart Lanczos (Wu and Simon 2000) with full reorthogonalisation."""

    name: ClassVar[str] = "eig"
    summary: ClassVar[str] = "Top eigenvalues of the Hessian, each with its residual."
    result: ClassVar[type[Result]] = EigResult

    k: int = option(5, help="How many eigenvalues.", min=1, short="k")
    which: Literal["largest", "smallest", "magnitude", "both"] = option(
        "largest", help="Which end of the spectrum; both takes half from each."
    )
    tol: float = option(1e-3, help="Largest residual, relative to the eigenvalue.", min=0)
    block: int = option(
        1,
        help="Vectors multiplied in each pass over the data: more products, but fewer passes, where reading data takes "
        "the time.",
        min=1,
        max=64,
    )
    max_products: int = option(
        1000, help="Give up after so many products, in whole blocks (exit 3).", min=1, identity=False
    )
    max_basis: int | None = option(None, help="Vectors held at most; default from memory.", min=4)
    confirm: int = option(8, help="Steps of a second start that looks for skipped eigenvalues; 0 for none.", min=0)
    certify: bool = option(False, help="Search until the bound of Kuczynski and Wozniakowski holds: see the next two.")
    certify_gap: float = option(
        0.01, help="Gap that is ruled out, relative to the width of the spectrum.", min=1e-6, max=0.25
    )
    certify_probability: float = option(0.01, help="Probability of being wrong, at most.", min=1e-100, max=0.5)
    cross_check: bool = option(False, help="Also run PyHessian's power iteration and report the difference.")
    save_vectors: bool = option(
        False, help="Write the eigenvectors beside the result, under the state dict's names.", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cross_check and self.operator not in ("hessian", "pyhessian"):
            raise UsageError(
                f"--cross-check compares with PyHessian's Hessian, not with --operator {self.operator}",
                fix="--operator hessian",
            )
        if self.cross_check and self.which in ("smallest", "both"):
            raise UsageError(
                f"--cross-check cannot be combined with --which {self.which}",
                why="PyHessian's power iteration finds the values that are largest in magnitude",
                fix="--which largest or --which magnitude",
            )

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, EigResult]:
        import numpy as np

        from landscape.algorithms.lanczos import lanczos, ritz

        rows, wanted = self._rows(objective), self._wanted()
        operator = self.matrix(objective)
        self.require_resampling(operator, objective)
        reference = objective.reference
        phases = Phases(resume)
        state = yield from phases.run("all", lambda saved: self._search(operator, rows, wanted, saved))
        pairs = ritz.rayleigh_ritz(ritz.ritz_pairs(state, wanted), state, wanted)
        known = ritz.have_converged(pairs, state, self.tol)
        result = EigResult(
            eigenvalues=self._padded(pairs.values),
            residuals=self._padded(ritz.true_residuals(pairs.residuals, state)),
            # of a value that has not converged only the residual is known: it may be another eigenvalue's
            error_bounds=self._padded(np.where(known, ritz.error_bounds(pairs, state), np.nan)),
            converged=self._padded(known) == 1,
            ritz_values=state.value_history,
            ritz_residuals=ritz.true_residuals(state.residual_history, state),
            tol=self.tol,
            products=state.products,
            search_products=state.search_products,
            rounding=state.noise,
            confirmed=(self.confirm > 0 or self.certify) and lanczos.finished(state, wanted),
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            parameters=objective.space.size,
            samples=objective.batches.samples,
            vectors=ritz.ritz_vectors(pairs, state.basis).T.cpu().numpy(),
            search_passes=state.search_passes,
            **self._certified(state, wanted),
        )
        if groups := self.groups(objective):
            found = yield from phases.run(
                layers.PHASE,
                lambda saved: layers.search_blocks(
                    operator, groups, wanted, steps=rows.beside, most=self.max_products, seed=self.seed, resume=saved
                ),
            )
            result = replace(result, **layers.block_columns(groups, found, wanted))
        if self.resample:
            result = replace(result, data_standard_errors=self._data_errors(operator, objective, pairs, state))
        return self._cross_checked(result, objective) if self.cross_check else result

    def _search(
        self, operator: LinearOperator, rows: Rows, wanted: WantedPairs, saved: State
    ) -> Generator[Progress, None, LanczosState]:
        """Yields after each product; returns the last state."""
        from landscape.algorithms.lanczos import lanczos
        from landscape.algorithms.lanczos.state import LanczosState

        state = earlier = LanczosState.from_arrays(dict(saved), operator.like, spill=rows.spill) if saved else None
        for state in lanczos.lanczos(
            operator,
            wanted,
            seed=self.seed,
            max_basis=rows.count,
            max_products=self.max_products,
            block=self.block,
            spill=rows.spill,
            resume=earlier,
        ):
            yield self._progress(state, wanted)
        assert state is not None  # max_products >= 1
        return state

    def plan(self, objective: Objective) -> Plan:
        plan = self._rows(objective)
        rows = plan.count
        search = self._wanted().search_length(1, objective.space.size)
        search = search * self.block + (search > 0)  # one more measures the rounding
        expected = EXPECTED_PRODUCTS[0] * self.k + EXPECTED_PRODUCTS[1] + EXPECTED_PRODUCTS[2] * (self.block - 1)
        expected = min(round(expected) + search, self.max_products)
        products = -(-expected // self.block) * self.block
        seconds = self.seconds_per_product(objective, self.block)
        whole = (seconds + _seconds_per_row(objective) * min(rows, products) / 2) * (products + 1)  # loss and gradient
        where = " in the host's memory" if plan.spill else ""
        facts = {"basis": f"{rows} vectors{where}", "product": f"{seconds:.3g} s"}
        how, size = self.product_facts(objective, self.block)
        facts |= how
        groups, held = self.groups(objective), rows
        if groups:
            each = seconds * (1 + len(groups) * BLOCK_COST)
            facts["blocks"] = f"{len(groups)}, about {products} passes of {each:.3g} s more"
            whole += each * products
            held += rows + self.k
        return Plan(bytes=held * objective.theta.nbytes + size, products=products, seconds=whole, facts=facts)

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        import torch

        if not self.save_vectors or result.vectors is None:
            return {}
        rows = torch.from_numpy(result.vectors.T)
        parts = [objective.space.unflatten(row) for row in rows]
        return {EIGENVECTORS: {name: torch.stack([part[name] for part in parts]).numpy() for name in parts[0]}}

    def _padded(self, known: np.ndarray) -> np.ndarray:
        """`(k,)`, NaN where the run was given up before as many values were known."""
        import numpy as np

        return np.concatenate([known, np.full(self.k - len(known), np.nan)])

    def _wanted(self) -> WantedPairs:
        from landscape.algorithms.lanczos.state import WantedPairs

        gap = self.certify_gap if self.certify else None
        return WantedPairs(self.k, self.which, self.tol, self.confirm, gap, self.certify_probability)

    def _certified(self, state: LanczosState, wanted: WantedPairs) -> dict[str, Any]:
        from landscape.algorithms.lanczos.certificate import certificate
        from landscape.algorithms.lanczos.lanczos import finished

        if not self.certify:
            return {}
        proof = certificate(state, wanted) if finished(state, wanted) else None
        if proof is None:
            return {"certified": False}
        return {
            "certified": True,
            "certified_gap": proof.gap,
            "certified_margin": proof.margin,
            "certified_probability": proof.probability,
        }

    def _data_errors(
        self, operator: LinearOperator, objective: Objective, pairs: Candidates, state: LanczosState
    ) -> np.ndarray:
        """What another draw of the samples would make of each eigenvalue, to first order: v'Hv with v as it is."""
        from landscape.algorithms.estimators.resampling import standard_errors
        from landscape.algorithms.lanczos import ritz

        vectors = ritz.ritz_vectors(pairs, state.basis).to(objective.device)
        return self._padded(standard_errors(*self.quadratics(operator, objective, vectors.T)))

    def _rows(self, objective: Objective) -> Rows:
        """Rows of the basis; raises UsageError if k is too large for the parameters or for the rows."""
        import torch

        from landscape.algorithms.lanczos.lanczos import fewest_rows
        from landscape.compute import memory

        size, host = objective.space.size, torch.device("cpu")
        if self.k > size:
            raise UsageError(f"-k {self.k} eigenvalues of {size} parameters", fix=f"-k {size} or fewer")
        # the bound holds for searches that need no restart, and a second one may follow
        search = self._wanted().search_length(2, size) if self.certify else 0
        wished = max(
            DEFAULT_ROWS[0] * self.k + DEFAULT_ROWS[1] * self.block,
            fewest_rows(self.k, self.block) + search * self.block,
        )
        fewest = min(max(fewest_rows(self.k, self.block), self.k + (search + 1) * self.block + 1), size)
        beside = memory.free_bytes(objective.device) // BASIS_SHARE // objective.theta.nbytes
        tight = beside < min(max(MIN_ROWS[0] * self.k + MIN_ROWS[1], fewest), self.max_basis or wished, size)
        spill = tight and objective.device.type != "cpu"
        fitting = memory.free_bytes(host) // BASIS_SHARE // objective.theta.nbytes if spill else beside
        rows = min(self.max_basis or min(wished, fitting), size)
        if rows < fewest:
            raise UsageError(
                f"{rows} basis vectors are too few for {self.k} eigenvalues"
                + (f" in blocks of {self.block}" if self.block > 1 else "")
                + (" and --certify" if self.certify else ""),
                why="" if self.max_basis else f"only so many of {objective.theta.nbytes:.3g} bytes fit into memory",
                fix=f"--max-basis {fewest} or more, or a smaller -k"
                + (", or a larger --certify-gap" if self.certify else ""),
            )
        return Rows(rows, min(rows, beside), spill)

    def _progress(self, state: LanczosState, wanted: WantedPairs) -> Progress:
        from landscape.algorithms.lanczos import ritz

        pairs = ritz.ritz_pairs(state, wanted)
        done = int(ritz.have_converged(pairs, state, self.tol).sum())
        note = f"{state.products} products"
        if state.cycle:
            length = wanted.search_length(state.cycle, state.basis.shape[1])
            note += f", looking for skipped values {min(state.cycle_steps, length)}/{length}"
        elif len(pairs.values):
            note += f", largest {pairs.values[0]:.5g}"
        return Progress(done, self.k, note, state.arrays)

    def _cross_checked(self, result: EigResult, objective: Objective) -> EigResult:
        import numpy as np

        from landscape.algorithms.lanczos.selection import select_eigenvalues
        from landscape.operators import PyHessianOperator

        theirs = np.array(PyHessianOperator(objective).power_iteration(self.k, self.seed))
        theirs = theirs[select_eigenvalues(theirs, self.k, self.which)]
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = (theirs - result.eigenvalues) / np.abs(result.eigenvalues)
        return replace(result, pyhessian_eigenvalues=theirs, pyhessian_relative_difference=difference)


def _seconds_per_row(objective: Objective) -> float:
    """The time of orthogonalising one vector against one row of the basis."""
    import torch

    from landscape.algorithms.lanczos.basis import orthogonalize

    rows = torch.zeros((2, objective.space.size), dtype=objective.dtype, device=objective.device)
    began = time.perf_counter()
    orthogonalize(objective.theta.clone()[None], rows)
    return (time.perf_counter() - began) / len(rows)
