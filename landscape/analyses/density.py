"""The density of eigenvalues, by stochastic Lanczos quadrature, and the numbers that follow from it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Plan, Progress, Result, State
from landscape.analyses.shared.curvature import BLOCK_COST, Curvature
from landscape.analyses.shared.per_layer import layer_table
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.errors import UsageError
from landscape.fields import array, option, scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from landscape.algorithms.lanczos.batched import BatchedLanczosState, QuadratureRule
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

BASIS_SHARE = 4  # the bases may take a quarter of the memory that is free
GRID_MARGIN = 4  # widths of the kernel beyond the outermost nodes: 1 - 6e-5 of a Gaussian lies within
END_TOLERANCE = 1e-2  # residual of an outermost node, relative to it, from which the reader is told


@dataclass(frozen=True)
class DensityResult(Result):
    """The density with its band, the quadrature rules that it is made of, and what follows from them."""

    tables: ClassVar[tuple[str, ...]] = ("layer",)

    grid: np.ndarray = array("grid", help="Places where the density is given.")
    density: np.ndarray = array("grid", help="Density of eigenvalues, smoothed; its integral is 1.")
    density_se: np.ndarray = array("grid", help="Standard error of the density, over the probes and by the quadrature.")
    ritz_nodes: np.ndarray = array("probe", "step", help="Nodes of each probe's quadrature; NaN beyond its end.")
    ritz_weights: np.ndarray = array(
        "probe",
        "step",
        help="Their weights, which add to 1; those of single eigenvalues that all probes found are exact.",
    )
    width: float = scalar("Standard deviation of the smoothing Gaussian.")
    lambda_max: float = scalar("Largest node of all probes.")
    lambda_max_se: float = scalar("Its residual: some eigenvalue is as close as that.")
    lambda_min: float = scalar("Smallest node of all probes.")
    lambda_min_se: float = scalar("Its residual.")
    trace: float = scalar("Sum of the eigenvalues.")
    trace_se: float = scalar("Standard error of the trace over the probes.")
    frobenius_norm: float = scalar("Root of the sum of their squares.")
    frobenius_norm_se: float = scalar("Standard error of the Frobenius norm.")
    negative_mass: float = scalar("Share of the eigenvalues that are negative.")
    negative_mass_se: float = scalar("Standard error of that share, over the probes and by the quadrature.")
    effective_rank: float = scalar("exp of the entropy of |lambda| / sum |lambda|.")
    effective_rank_se: float = scalar("Standard error of the effective rank.")
    r_e: float = scalar("|lambda_min / lambda_max|.")
    r_e_se: float = scalar("What the residuals of both ends make of it.")
    k_h1: float = scalar("Sum of |lambda| of the negative eigenvalues over that of the positive ones.")
    k_h1_se: float = scalar("Standard error of that ratio.")
    bulk_condition: float = scalar("Ratio of the |lambda| between which the middle half of sum |lambda| lies.")
    bulk_condition_se: float = scalar("Standard error of that ratio.")
    exact_weights: bool = scalar("Whether single eigenvalues that all probes found have their exact weight.")
    products: int = scalar("Products with one column over the full data, those for layers left out.")
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    layer: np.ndarray | None = array("layer", help="Group of parameters, largest trace first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_trace: np.ndarray | None = array("layer", help="Trace of its diagonal block.", optional=True)
    layer_trace_se: np.ndarray | None = array("layer", help="Standard error over the probes.", optional=True)
    layer_share: np.ndarray | None = array("layer", help="Share of the sum of these traces.", optional=True)
    layer_frobenius_norm: np.ndarray | None = array("layer", help="Frobenius norm of the block.", optional=True)
    layer_lambda_max: np.ndarray | None = array("layer", help="Largest node of the block.", optional=True)
    layer_lambda_min: np.ndarray | None = array("layer", help="Smallest node of the block.", optional=True)
    layer_density: np.ndarray | None = array("layer", "grid", help="Density of the block's eigenvalues.", optional=True)

    def remarks(self) -> list[str]:
        remarks = []
        largest = max(abs(self.lambda_max), abs(self.lambda_min))
        if max(self.lambda_max_se, self.lambda_min_se) > END_TOLERANCE * largest:
            remarks.append("the ends of the spectrum have not converged: more --steps, or landscape eig --which both")
        if not self.exact_weights:
            remarks.append(
                "memory did not hold all probes at once: weights are random, errors larger than they need be"
            )
        if self.negative_mass_se > max(self.negative_mass, 0.1):
            remarks.append(
                "negative mass: on which side of zero the smallest eigenvalues lie is not known; more --steps tell more"
            )
        return remarks


@dataclass(frozen=True)
class Density(Curvature):
    """Stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017; Ghorbani et al. 2019) with full reorthogonalisation."""

    name: ClassVar[str] = "density"
    summary: ClassVar[str] = "Density of eigenvalues with an error band; trace, norm, negative mass, effective rank."
    result: ClassVar[type[Result]] = DensityResult

    probes: int = option(8, help="Random start vectors; the error falls as their square root.", min=2)
    steps: int = option(64, help="Products with each of them; the detail that is resolved.", min=2)
    width: float = option(0.01, help="Standard deviation of the smoothing, relative to the spectrum's width.", min=1e-9)
    points: int = option(1024, help="Points of the grid.", min=16)

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, DensityResult]:
        import numpy as np

        from landscape.algorithms.lanczos.basis import rounding_floor
        from landscape.algorithms.lanczos.exact_outliers import rules_with_exact_outliers
        from landscape.operators.block_diagonal import block_diagonal

        operator, groups = self.matrix(objective), self.groups(objective)
        reference = objective.reference
        total = self._steps(objective.space.size) * (1 + bool(groups))
        together = self._together(objective)
        whole = phase_state("whole", resume or {})
        if not whole:
            everything = [objective.space.whole_group()]
            state = yield from self._lockstep(operator, everything, together, resume, "all", total, {})
            whole = {"scale": state.scale.max(), "products": np.asarray(state.products)}
            for name, steps in (("rule", state), ("half", state if state.ended else state.first_half())):
                whole |= prefix_state(
                    name,
                    {part: np.asarray(v) for part, v in vars(rules_with_exact_outliers(steps, everything)[0]).items()},
                )
            del state, steps  # and with them the basis
        layers: list[QuadratureRule] = []
        if groups:
            blocks, done = block_diagonal(operator, groups), prefix_state("whole", whole)
            state = yield from self._lockstep(blocks, groups, together, resume, "layers", total, done)
            layers = rules_with_exact_outliers(state, groups)
        return self._result(
            _stored(phase_state("rule", whole)),
            _stored(phase_state("half", whole)),
            dict(zip(groups, layers, strict=True)),
            rounding_floor(objective.dtype, float(whole["scale"])),
            products=int(whole["products"]),
            exact_weights=together == self.probes,
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            parameters=objective.space.size,
            samples=objective.batches.samples,
        )

    def plan(self, objective: Objective) -> Plan:
        together = self._together(objective)
        steps = self._steps(objective.space.size)
        products, groups = steps * self.probes, self.groups(objective)
        seconds = self.seconds_per_product(objective, together)
        how, size = self.product_facts(objective, together)
        return Plan(
            bytes=together * (steps + 1) * objective.theta.nbytes + size,
            products=products,
            seconds=seconds * (products + 1) * (1 + bool(groups) + len(groups) * BLOCK_COST),
            facts={"probes at once": str(together), "product": f"{seconds:.3g} s"} | how,
        )

    def _lockstep(
        self,
        operator: LinearOperator,
        groups: Sequence[ParameterGroup],
        together: int,
        resume: State | None,
        phase: str,
        total: int,
        done: State,
    ) -> Generator[Progress, None, BatchedLanczosState]:
        """All probes' runs for these groups; `done` is what the snapshots of an earlier phase hold."""
        from landscape.algorithms.lanczos.batched import BatchedLanczosState, batched_lanczos

        steps = self._steps(operator.size)
        saved = phase_state(phase, resume or {})
        state = BatchedLanczosState.from_arrays(saved, operator.like) if saved else None
        running = batched_lanczos(
            operator, groups, probes=self.probes, steps=steps, together=together, seed=self.seed, resume=state
        )
        for state in running:
            passes = -(-self.probes // together) * steps
            here = steps * (state.products / (passes * together) if not state.finished else 1)
            yield Progress(
                done=round(here) + (steps if done else 0),
                total=total,
                note=f"{state.products} products" + (f" for {len(groups)} blocks" if done else ""),
                state=lambda now=state: {**done, **prefix_state(phase, now.arrays())},  # type: ignore[misc]
            )
        assert state is not None
        return state

    def _steps(self, size: int) -> int:
        return min(self.steps, size)

    def _together(self, objective: Objective) -> int:
        """Probes at once; raises UsageError if not even one fits into memory."""
        from landscape.compute import memory

        each = (self._steps(objective.space.size) + 1) * objective.theta.nbytes
        fitting = memory.free_bytes(objective.device) // BASIS_SHARE // each
        if not fitting:
            raise UsageError(
                f"{self.steps} --steps hold {each:.3g} bytes, more than a quarter of the free memory",
                fix="fewer --steps, or --params",
            )
        return min(self.probes, fitting)

    def _result(
        self,
        rule: QuadratureRule,
        half: QuadratureRule,
        layers: dict[ParameterGroup, QuadratureRule],
        floor: float,
        **known: Any,
    ) -> DensityResult:
        import numpy as np

        from landscape.algorithms.lanczos import quadrature as spectrum

        ends = _ends(rule, floor)
        span = ends["lambda_max"] - ends["lambda_min"]
        largest = max(abs(ends["lambda_max"]), abs(ends["lambda_min"]))
        # one value many times over, or zeros alone, have no width of their own
        width = self.width * (span if span > self.width * largest else largest or 1.0)
        low, high = ends["lambda_min"] - GRID_MARGIN * width, ends["lambda_max"] + GRID_MARGIN * width
        grid = np.linspace(low, high, self.points)
        # polynomials of so low a degree are integrated exactly: trace and norm have no error of the quadrature
        numbers = {
            "trace": spectrum.jackknife(rule, spectrum.rule_trace),
            "frobenius_norm": spectrum.jackknife(rule, spectrum.frobenius_norm),
        }
        for name, estimate, number in (
            ("effective_rank", spectrum.jackknife, spectrum.effective_rank),
            ("k_h1", spectrum.jackknife, spectrum.negative_ratio),
            ("bulk_condition", spectrum.spread, spectrum.bulk_condition),
        ):
            numbers[name] = estimate(rule, number).beside(estimate(half, number))
        negative = spectrum.jackknife(rule, lambda part: spectrum.negative_mass(part, floor))
        undecided = 0.0 if rule.exact else spectrum.negative_mass_uncertainty(rule, floor)
        most = max(negative.value, 1 - negative.value)  # a share is not further off
        numbers["negative_mass"] = spectrum.Estimate(
            negative.value, float(min(np.hypot(negative.error, undecided), most))
        )
        smooth, error = spectrum.smoothed_density(rule, grid, width)
        error = np.hypot(error, smooth - spectrum.smoothed_density(half, grid, width)[0])
        known |= {"ritz_nodes": rule.nodes, "ritz_weights": rule.weights, "width": width}
        known |= {"grid": grid, "density": smooth, "density_se": error}
        known |= {name: number.value for name, number in numbers.items()}
        known |= {f"{name}_se": number.error for name, number in numbers.items()}
        return DensityResult(**known, **ends, **_layers(layers, grid, width))


def _stored(arrays: dict[str, np.ndarray]) -> QuadratureRule:
    """The rule that a snapshot's arrays hold."""
    from landscape.algorithms.lanczos.batched import QuadratureRule

    return QuadratureRule(arrays["nodes"], arrays["weights"], arrays["residuals"], int(arrays["size"]))


def _ends(rule: QuadratureRule, floor: float) -> dict[str, Any]:
    """The outermost nodes of all probes with their residuals, rounding included, and the ratio of the ends."""
    import numpy as np

    top, bottom = np.unravel_index([np.nanargmax(rule.nodes), np.nanargmin(rule.nodes)], rule.nodes.shape)
    (high, low), (above, below) = rule.nodes[top, bottom], np.hypot(rule.residuals[top, bottom], floor)
    ratio = abs(low / high) if high else float("inf")
    error = (below + ratio * above) / abs(high) if high else float("nan")
    names = ("lambda_max", "lambda_max_se", "lambda_min", "lambda_min_se", "r_e", "r_e_se")
    return dict(zip(names, map(float, (high, above, low, below, ratio, error)), strict=True))


def _layers(layers: dict[ParameterGroup, QuadratureRule], grid: np.ndarray, width: float) -> dict[str, Any]:
    """The columns of the layers' table, largest trace first."""
    import numpy as np

    from landscape.algorithms.lanczos import quadrature as spectrum

    if not layers:
        return {}
    groups, rules = list(layers), list(layers.values())
    traces = [spectrum.jackknife(rule, spectrum.rule_trace) for rule in rules]
    values = np.array([trace.value for trace in traces])
    arrays = {
        "trace": values,
        "trace_se": np.array([trace.error for trace in traces]),
        "share": values / (values.sum() or float("nan")),
        "frobenius_norm": np.array([spectrum.frobenius_norm(rule) for rule in rules]),
        "lambda_max": np.array([np.nanmax(rule.nodes) for rule in rules]),
        "lambda_min": np.array([np.nanmin(rule.nodes) for rule in rules]),
        "density": np.array([spectrum.smoothed_density(rule, grid, width)[0] for rule in rules]),
    }
    return layer_table(groups, values, arrays)
