"""Scalar measures of flatness and complexity, each one formula from the literature."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from landscape.analyses.base import Analysis, Plan, Progress, Result, State, Trouble
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.timing import seconds_per_gradient
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.fields import option, scalar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.algorithms.estimators.trace import TraceEstimate
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective, Reference

FlatnessEstimate: TypeAlias = "tuple[TraceEstimate | None, int] | None"  # relative flatness, and the products it took
NOISES = ("plain", "magnitude")
MAX_FLATNESS_SKETCH = 64  # probes that an estimate of the trace may sketch

BISECTIONS = 16  # of log sigma over eight decades: to 0.03 %
SIGMA_RANGE = (1e-6, 1e2)
MAGNITUDE_EPSILON = 1e-3  # Jiang et al. (2020), appendix C: noise of variance sigma^2 w^2 + epsilon^2
EXPECTED_FLATNESS_PRODUCTS = 100
SAMPLE_COST = 3.0  # of all samples' own gradients, in gradients of the mean


@dataclass(frozen=True, kw_only=True)
class MeasuresResult(Result):
    """Measures by name; those that a loss or a model does not have are absent."""

    follows_loss: ClassVar[bool] = False

    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient g of the mean loss.")
    noise_trace: float | None = scalar("Trace of the covariance of the samples' gradients.", optional=True)
    noise_scale: float | None = scalar(
        "noise_trace / ||g||^2: the batch size at which noise and gradient are as large.", optional=True
    )
    fisher_rao: float = scalar("Fisher-Rao norm: root of the mean over samples of (w . gradient)^2.")
    relative_flatness: float | None = scalar(
        "Sum of <w_s, w_s'> tr H_ss' over rows of the layer's weight.", optional=True
    )
    relative_flatness_se: float | None = scalar("Its standard error over the random vectors.", optional=True)
    half_width: float | None = scalar("Half the width of its 95 % interval.", optional=True)
    rtol: float | None = scalar("Half-width asked for, relative to it.", optional=True)
    error: float | None = scalar("Share of wrong predictions.", optional=True)
    pac_bayes_sigma: float | None = scalar(
        "Largest noise on all weights with which the mean error rises by at most --deviation.", optional=True
    )
    pac_bayes_magnitude_sigma: float | None = scalar("The same with noise proportional to each weight.", optional=True)
    deviation: float | None = scalar("That deviation.", optional=True)
    draws: int | None = scalar("Draws of the noise.", optional=True)
    products: int = scalar("Products with the Hessian, for relative_flatness.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def trouble(self) -> Trouble | None:
        """That gradients are not finite, or that the interval of the relative flatness is wider than asked for."""
        if not math.isfinite(self.fisher_rao):
            why = f"the samples' gradients are not finite: fisher_rao is {self.fisher_rao}"
            return Trouble(why, "--dtype float64", "not finite")
        value, half = self.relative_flatness, self.half_width
        if value is None or half is None or half <= (self.rtol or 0) * abs(value):
            return None
        asked = f"{self.rtol:g} of it was asked for"
        return Trouble(
            f"half-width {half:.2g} of relative flatness {value:.4g} after {self.products} products, {asked}",
            "the same command with a larger --max-products resumes it, or --restart with a larger --rtol",
        )

    def remarks(self) -> list[str]:
        sigmas = {"pac bayes sigma": self.pac_bayes_sigma, "pac bayes magnitude sigma": self.pac_bayes_magnitude_sigma}
        if self.error is None:
            return []
        return [
            f"no {name}: the smallest noise that is tried lets the error rise by more than {self.deviation:g}"
            for name, sigma in sigmas.items()
            if sigma is None
        ] + [
            f"{name} is at the end of what is searched: the error does not rise with the noise"
            for name, sigma in sigmas.items()
            if sigma is not None and sigma >= 0.99 * SIGMA_RANGE[1]
        ]


@dataclass(frozen=True)
class Measures(Analysis):
    """Gradient noise scale (McCandlish et al. 2018, equation 2.9), Fisher-Rao norm (Liang et al. 2019, definition 3),
    relative flatness (Petzka et al. 2021, definition 3) and PAC-Bayes sigma (Jiang et al. 2020, appendix C)."""

    name: ClassVar[str] = "measures"
    summary: ClassVar[str] = "Gradient noise scale, Fisher-Rao norm, relative flatness and PAC-Bayes sigma."
    result: ClassVar[type[Result]] = MeasuresResult

    layer: str | None = option(
        None, help="Weight whose relative flatness is measured; default: the last matrix of the model, which is said."
    )
    rtol: float = option(0.05, help="Half-width of its 95 % interval asked for, relative.", min=1e-6)
    max_products: int = option(1000, help="Products at most for it (exit 3).", min=1, identity=False)
    deviation: float = option(0.1, help="Rise of the error that defines the PAC-Bayes sigma.", min=1e-6, max=1)
    draws: int = option(15, help="Draws of the noise for it; 0 leaves it out.", min=0)
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, MeasuresResult]:
        reference, group = objective.reference, self._group(objective)
        phases = Phases(resume)
        gradients = yield from phases.run("gradients", lambda saved: _moments(objective, saved))
        flatness: FlatnessEstimate = None
        if group is not None:
            objective.notes.append(f"relative flatness is that of {group.names[0]}")
            flatness = yield from phases.run("flatness", lambda saved: self._relative_flatness(objective, group, saved))
        sigmas: dict[str, float] = {}
        if self.draws:
            sigmas = yield from phases.run("sigma", lambda saved: self._sigmas(objective, saved))
        return self._result(objective, reference, gradients, flatness, sigmas)

    def plan(self, objective: Objective) -> Plan:
        seconds = seconds_per_gradient(objective)
        losses = 2 * BISECTIONS * self.draws
        return Plan(
            bytes=8 * objective.theta.nbytes,
            products=EXPECTED_FLATNESS_PRODUCTS,
            seconds=seconds * (SAMPLE_COST + 2.5 * EXPECTED_FLATNESS_PRODUCTS + 0.4 * losses),
            facts={"losses": f"{losses:,}", "gradient": f"{seconds:.3g} s"},
        )

    def _group(self, objective: Objective) -> ParameterGroup | None:
        """The weight whose relative flatness is asked for; None if there is no matrix."""
        matrices = [block.name for block in objective.space.blocks if len(block.shape) > 1]
        if self.layer is None:
            return objective.space.groups_matching([matrices[-1]])[0] if matrices else None
        if self.layer not in matrices:
            raise UsageError(f"--layer {self.layer} is no matrix of the model", fix=f"one of {', '.join(matrices)}")
        return objective.space.groups_matching([self.layer])[0]

    def _relative_flatness(
        self, objective: Objective, group: ParameterGroup, saved: State
    ) -> Generator[Progress, None, FlatnessEstimate]:
        """The estimate by the trace's estimators and the products it took; None without second derivatives."""
        from landscape.algorithms.estimators import trace
        from landscape.algorithms.estimators.trace import TraceGoal, TraceState
        from landscape.algorithms.lanczos.symmetry import product_if_symmetric
        from landscape.operators import HessianOperator
        from landscape.operators.weighted_rows import WeightedRowsOperator

        weight = objective.space.unflatten(objective.theta)[group.names[0]]
        where = next(block.filters for block in objective.space.blocks if block.name == group.names[0])
        hessian = HessianOperator(objective)
        operator = WeightedRowsOperator(hessian, group, weight, where)
        goal = TraceGoal("auto", self.rtol, self.max_products, min(MAX_FLATNESS_SKETCH, operator.size) // 8 * 8, 0)
        try:
            product_if_symmetric(hessian, objective.theta, self.seed)  # of all weights: a block of it may be symmetric
        except (TaskError, NumericalError) as error:
            objective.notes.append(f"no relative flatness: {error.what}")
            return None
        state = earlier = TraceState.from_arrays(dict(saved), operator.like, self.seed) if saved else None
        for state in trace.estimate_trace(operator, (), goal, seed=self.seed, resume=earlier):
            most = max(self.max_products, state.products)
            yield Progress(state.products, most, f"relative flatness, {state.products} products", state.arrays)
        assert state is not None  # max_products >= 1
        return trace.preferred_estimate(state, goal), state.products

    def _sigmas(self, objective: Objective, saved: State) -> Generator[Progress, None, dict[str, float]]:
        """The error at the weights and both sigmas; NaN where there are no classes, or where no sigma fits."""
        import numpy as np

        known: dict[str, np.ndarray] = {name: np.array(value) for name, value in saved.items()}

        def done(note: str) -> Progress:
            steps = sum(int(known[name][0]) + 1 for name in NOISES if name in known)
            return Progress(
                steps, 2 * (BISECTIONS + 1), note, lambda: {name: value.copy() for name, value in known.items()}
            )

        if "error" not in known:
            known["error"] = np.array(_error(objective, objective.theta))
            yield done("error")
        allowed = float(known["error"]) + self.deviation
        for name in NOISES if not np.isnan(known["error"]) else ():
            if name not in known:
                fits = self._mean_error(objective, name, SIGMA_RANGE[0]) <= allowed
                known[name] = np.array([0.0, *np.log(SIGMA_RANGE)]) if fits else np.array([BISECTIONS, np.nan, np.nan])
                yield done("PAC-Bayes sigma")
            while known[name][0] < BISECTIONS:
                step, low, high = known[name]
                middle = (low + high) / 2
                fits = self._mean_error(objective, name, float(np.exp(middle))) <= allowed
                known[name] = np.array([step + 1, *((middle, high) if fits else (low, middle))])
                yield done(f"PAC-Bayes sigma, step {int(step) + 1}")
        found = {name: float(np.exp(known[name][1])) if name in known else float("nan") for name in NOISES}
        return {"error": float(known["error"]), **found}

    def _mean_error(self, objective: Objective, noise: str, sigma: float) -> float:
        from landscape import seeds

        theta, total = objective.theta, 0.0
        deviation = (sigma**2 * theta**2 + MAGNITUDE_EPSILON**2).sqrt() if noise == "magnitude" else sigma
        for draw in range(self.draws):
            z = seeds.normal(len(theta), theta, self.seed, "sigma", draw)
            total += _error(objective, theta + deviation * z)
        return total / self.draws

    def _result(
        self,
        objective: Objective,
        reference: Reference,
        gradients: tuple[float, float],
        flatness: FlatnessEstimate,
        sigmas: dict[str, float],
    ) -> MeasuresResult:
        noise_trace, fisher_rao = gradients
        noisy = not math.isnan(noise_trace)
        reading, products = flatness or (None, 0)
        classes = bool(sigmas) and not math.isnan(sigmas["error"])

        def known(name: str) -> float | None:
            return sigmas[name] if classes and not math.isnan(sigmas[name]) else None

        return MeasuresResult(
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            noise_trace=noise_trace if noisy else None,
            noise_scale=noise_trace / reference.gradient_norm**2 if noisy and reference.gradient_norm else None,
            fisher_rao=fisher_rao,
            relative_flatness=reading.value if reading else math.nan if flatness else None,
            relative_flatness_se=reading.error if reading else math.nan if flatness else None,
            half_width=reading.half_width if reading else math.nan if flatness else None,
            rtol=self.rtol if flatness else None,
            error=known("error"),
            pac_bayes_sigma=known("plain"),
            pac_bayes_magnitude_sigma=known("magnitude"),
            deviation=self.deviation if classes else None,
            draws=self.draws if classes else None,
            products=products,
            parameters=objective.space.size,
            samples=objective.batches.samples,
        )


def _moments(objective: Objective, saved: State) -> Generator[Progress, None, tuple[float, float]]:
    """The trace of the covariance of the samples' gradients, NaN for one sample, and the Fisher-Rao norm.

    A sample's gradient is N times its share in the mean gradient: their mean is the mean gradient.
    """
    import numpy as np

    from landscape.evaluation.per_sample.gradients import gradient_moments

    sums = np.array(saved["sums"]) if saved else np.array([float(value) for value in gradient_moments(objective)])
    if not saved:
        yield Progress(1, 1, "the samples' gradients", lambda: {"sums": sums})
    count, samples = objective.count, objective.batches.samples
    mean_square, along = sums * samples / count**2
    gradient = objective.reference.gradient_norm
    covariance = (mean_square - gradient**2) * samples / (samples - 1) if samples > 1 else float("nan")
    return float(covariance), float(along**0.5)


def _error(objective: Objective, theta: Tensor) -> float:
    """The share of wrong predictions at theta; NaN for a loss without classes."""
    import torch

    from landscape.data.batches import Batch
    from landscape.losses.predictions import error_counts

    def kernel(batch: Batch) -> Tensor:
        with torch.no_grad():
            found = error_counts(objective.loss, objective.batch_output(theta, batch), batch.targets)
        wrong, counted = found if found else (torch.tensor(float("nan")), 1)
        return torch.tensor([float(wrong), float(counted)], dtype=torch.float64)

    wrong, counted = objective.accumulate(kernel).tolist()
    return wrong / counted if counted else float("nan")
