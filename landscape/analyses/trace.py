"""The trace of the Hessian with its interval, by the estimator that needs the fewest products."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import Plan, Progress, Result, State, Trouble
from landscape.analyses.shared.curvature import Resampled
from landscape.analyses.shared.per_layer import layer_table
from landscape.errors import UsageError
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from landscape.algorithms.estimators.trace import TraceGoal, TraceState
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

BASIS_SHARE = 4  # the sketch may take a quarter of the memory that is free
MAX_SKETCH = 1024  # probes: beyond it the small dense problems cost more than products
BLOCK_PROBES = 16  # probes outside the sketch from which each block's trace gets its standard error
DATA_PROBES = 16  # probes for the data's part of the error
EXPECTED_TRACE_PRODUCTS = 150  # products to 1 %: digits-mlp took 115, digits-noisy 178, digits-resnet on 64 samples 440
MORE_PRODUCTS = (
    "the same command with a larger --max-products resumes it; or --restart with a larger --rtol or --method auto"
)


@dataclass(frozen=True)
class TraceResult(Result):
    """The trace with its standard error and 95 % interval, and what each estimator made of the same products."""

    tables: ClassVar[tuple[str, ...]] = ("estimator", "layer")

    trace: float = scalar(
        "Sum of the eigenvalues.",
        gauge=Gauge(
            "standard_error",
            "draws",
            rtol="rtol",
            advice="gate on it: with the same seed, changes far below rtol are seen",
        ),
    )
    standard_error: float = scalar("Its standard error over the random vectors; 0 if it was summed exactly.")
    interval: np.ndarray = array("bound", help="Lower and upper end of the 95 % interval of the random vectors.")
    rtol: float = scalar("Largest half-width of the interval asked for, relative to the trace.")
    products: int = scalar("Products with the matrix over the full data.")
    estimator: np.ndarray = array("estimator", help="Estimators, the one whose number is given first.")
    estimator_trace: np.ndarray = array("estimator", help="Its estimate.")
    estimator_standard_error: np.ndarray = array("estimator", help="Its standard error.")
    estimator_products: np.ndarray = array("estimator", help="Products that it rests on.")
    estimator_needed: np.ndarray = array(
        "estimator", help="Products to the half-width asked for, if its error fell as their root."
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    draws: np.ndarray | None = array(
        "draw", help="Values of the random vectors, whose mean the trace is; none if it was summed.", optional=True
    )
    data_standard_error: float | None = scalar(
        "Standard error over samples: had others been drawn (--resample).", optional=True
    )
    layer: np.ndarray | None = array("layer", help="Group of parameters, largest trace first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_trace: np.ndarray | None = array(
        "layer", help="Trace of its diagonal block.", optional=True, gauge=Gauge("layer_standard_error")
    )
    layer_standard_error: np.ndarray | None = array("layer", help="Its standard error.", optional=True)
    layer_share: np.ndarray | None = array("layer", help="Share of the sum of these traces.", optional=True)

    def trouble(self) -> Trouble | None:
        """That the interval is wider than asked for, or that no probe was left for the blocks."""
        half = (self.interval[1] - self.interval[0]) / 2
        if half <= self.rtol * abs(self.trace):
            missing = self.layer_trace is not None and any(math.isnan(value) for value in self.layer_trace)
            return Trouble(f"no trace of the blocks after {self.products} products", MORE_PRODUCTS) if missing else None
        relative = f"{half / abs(self.trace):.2g}" if self.trace else "infinite"
        why = f"half-width {relative} of the trace after {self.products} products, {self.rtol:g} was asked for"
        return Trouble(why, MORE_PRODUCTS)

    def remarks(self) -> list[str]:
        remarks = [f"trace {self.trace:.6g}, 95 % interval {self.interval[0]:.6g} ... {self.interval[1]:.6g}"]
        data, algorithm = self.data_standard_error, self.standard_error
        if data is not None and data != data:
            remarks.append("the error by the choice of samples is too small to be told from that of its 16 probes")
        elif data is not None:
            larger = "more samples, not more products" if data > algorithm else "more products, not more samples"
            advice = f": {larger}, would make it more certain" if max(data, algorithm) > 0 else ""
            remarks.append(
                f"standard error {data:.3g} by the choice of samples, {algorithm:.3g} by the random vectors{advice}"
            )
        if len(self.estimator) > 1 and self.estimator[0] != "exact":
            best = int(self.estimator_needed.argmin())
            needed = self.estimator_needed[best]
            remarks.append(f"{self.estimator[best]} needs the fewest products for that here, about {needed:.0f}")
        return remarks


@dataclass(frozen=True)
class Trace(Resampled):
    """Hutchinson (1989), Hutch++ (Meyer et al. 2021) or XTrace (Epperly, Tropp and Webber 2024)."""

    name: ClassVar[str] = "trace"
    summary: ClassVar[str] = "Trace with its interval, by Hutchinson, Hutch++ or XTrace."
    result: ClassVar[type[Result]] = TraceResult

    rtol: float = option(0.01, help="Largest half-width of the 95 % interval, relative to the trace.", min=1e-9)
    method: Literal["auto", "hutchinson", "hutch++", "xtrace"] = option(
        "auto", help="The estimator; auto takes the one that will need the fewest products."
    )
    max_products: int = option(2000, help="Give up after so many products (exit 3).", min=1, identity=False)

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, TraceResult]:
        from landscape.algorithms.estimators import trace
        from landscape.algorithms.estimators.trace import TraceState

        operator, groups, goal = self.matrix(objective), self.groups(objective), self._goal(objective)
        self.require_resampling(operator, objective)
        reference = objective.reference
        state = earlier = TraceState.from_arrays(dict(resume), operator.like, self.seed) if resume else None
        for state in trace.estimate_trace(operator, groups, goal, seed=self.seed, resume=earlier):
            yield self._progress(state, goal)
        assert state is not None  # max_products >= 1
        return TraceResult(
            **self._estimates(state, goal),
            data_standard_error=self._data_error(operator, objective),
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            parameters=objective.space.size,
            samples=objective.batches.samples,
            **(_layers(state, groups) if groups else {}),
        )

    def plan(self, objective: Objective) -> Plan:
        goal = self._goal(objective)
        products = round(
            min(EXPECTED_TRACE_PRODUCTS * (0.01 / self.rtol) ** 0.5, objective.space.size, self.max_products)
        )
        products += DATA_PROBES if self.resample else 0
        columns = min(8, objective.space.size)
        seconds = self.seconds_per_product(objective, columns)
        how, size = self.product_facts(objective, columns)
        return Plan(
            bytes=2 * min(goal.capacity, products // 2) * objective.theta.nbytes + size,
            products=products,
            seconds=seconds * (products + 1),
            facts={"product": f"{seconds:.3g} s"} | how,
        )

    def _goal(self, objective: Objective) -> TraceGoal:
        """What is asked of the algorithm; raises UsageError if the sketch does not fit into memory."""
        from landscape.algorithms.estimators.trace import MIN_VALUES, PROBES_PER_PASS, TraceGoal
        from landscape.compute import memory

        fitting = memory.free_bytes(objective.device) // BASIS_SHARE // (2 * objective.theta.nbytes)
        capacity = min(MAX_SKETCH, fitting) // PROBES_PER_PASS * PROBES_PER_PASS
        method = self.method
        if capacity < MIN_VALUES["xtrace"] and method != "hutchinson":
            if method != "auto":
                raise UsageError(
                    f"{MIN_VALUES['xtrace']} sketched vectors of {method} take more than a quarter of the free memory",
                    fix="--method hutchinson",
                )
            method = "hutchinson"
        return TraceGoal(method, self.rtol, self.max_products, capacity, BLOCK_PROBES if self.groups(objective) else 0)

    def _progress(self, state: TraceState, goal: TraceGoal) -> Progress:
        from landscape.algorithms.estimators import trace

        chosen = trace.preferred_estimate(state, goal)
        if state.columns:
            return Progress(
                state.columns, state.basis.shape[1], f"{state.products} products, exact diagonal", state.arrays
            )
        if chosen is None:
            return Progress(0, 100, f"{state.products} products", state.arrays)
        needed = chosen.products_for(self.rtol * abs(chosen.value))
        share = chosen.products / needed if needed else 1.0
        note = f"{state.products} products, {chosen.value:.5g} +- {chosen.half_width:.2g} by {chosen.estimator}"
        return Progress(min(100, round(100 * share)), 100, note, state.arrays)

    def _estimates(self, state: TraceState, goal: TraceGoal) -> dict[str, Any]:
        import numpy as np

        from landscape.algorithms.estimators import trace

        chosen = trace.preferred_estimate(state, goal)
        if chosen is None:
            every, value, error, half, drawn = [], float("nan"), float("nan"), float("inf"), np.zeros(0)
        else:
            others = [r for r in trace.trace_estimates(state) if r.estimator != chosen.estimator]
            every, value, error, half = [chosen, *others], chosen.value, chosen.error, chosen.half_width
            drawn = chosen.draws
        width = self.rtol * abs(value)
        return {
            "trace": value,
            "standard_error": error,
            "interval": np.array([value - half, value + half]),
            "rtol": self.rtol,
            "products": state.products,
            "draws": drawn if len(drawn) else None,
            "estimator": np.array([r.estimator for r in every], dtype=str),
            "estimator_trace": np.array([r.value for r in every]),
            "estimator_standard_error": np.array([r.error for r in every]),
            "estimator_products": np.array([r.products for r in every], dtype=int),
            "estimator_needed": np.array([r.products if r.half_width == 0 else r.products_for(width) for r in every]),
        }

    def _data_error(self, operator: LinearOperator, objective: Objective) -> float | None:
        """The standard error of the trace over samples, from probes of its own."""
        import torch

        from landscape.algorithms.estimators.resampling import data_standard_error
        from landscape.algorithms.estimators.trace import trace_probe

        if not self.resample:
            return None
        drawn = [trace_probe(operator.size, operator.like, self.seed, "data", index) for index in range(DATA_PROBES)]
        return data_standard_error(*self.quadratics(operator, objective, torch.stack(drawn, dim=1)))


def _layers(state: TraceState, groups: Sequence[ParameterGroup]) -> dict[str, Any]:
    """The columns of the layers' table, largest trace first."""
    from landscape.algorithms.estimators.trace import block_traces

    values, errors = block_traces(state, groups)
    share = values / (values.sum() or float("nan"))
    return layer_table(groups, values, {"trace": values, "standard_error": errors, "share": share})
