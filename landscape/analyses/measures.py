"""Scalar measures of flatness and complexity, each one formula from the literature."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Analysis, Plan, Progress, Result, State
from landscape.analyses.perturbation import seconds_per_gradient
from landscape.errors import UsageError
from landscape.fields import option, scalar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.objective import Objective
    from landscape.space import Group

BISECTIONS = 16  # of log sigma over eight decades: to 0.03 %
SIGMAS = (1e-6, 1e2)
MAGNITUDE_EPSILON = 1e-3  # Jiang et al. (2020), appendix C: noise of variance sigma^2 w^2 + epsilon^2
EXPECTED_PRODUCTS = 100
SAMPLE_COST = 3.0  # of all samples' own gradients, in gradients of the mean


@dataclass(frozen=True, kw_only=True)
class MeasuresResult(Result):
    """Measures by name; those that a loss or a model does not have are absent."""

    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient g of the mean loss.")
    noise_trace: float = scalar("Trace of the covariance of the samples' gradients.")
    noise_scale: float = scalar("noise_trace / ||g||^2: the batch size at which noise and gradient are as large.")
    fisher_rao: float = scalar("Fisher-Rao norm: root of the mean over samples of (w . gradient)^2.")
    relative_flatness: float | None = scalar(
        "Sum of <w_s, w_s'> tr H_ss' over rows of the layer's weight.", optional=True
    )
    relative_flatness_se: float | None = scalar("Its standard error over the random vectors.", optional=True)
    error: float | None = scalar("Share of wrong predictions.", optional=True)
    pac_bayes_sigma: float | None = scalar(
        "Largest noise on all weights with which the mean error rises by at most --deviation.", optional=True
    )
    pac_bayes_magnitude_sigma: float | None = scalar("The same with noise proportional to each weight.", optional=True)
    deviation: float = scalar("That deviation.")
    draws: int = scalar("Draws of the noise.")
    products: int = scalar("Products with the Hessian, for relative_flatness.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def trouble(self) -> str:
        import math

        names = ("noise_scale", "fisher_rao", "relative_flatness")
        broken = [n for n in names if (value := getattr(self, n)) is not None and math.isnan(value)]
        return f"not a number: {', '.join(broken)}" if broken else ""

    def remedy(self) -> str:
        return "--dtype float64; an exactly zero gradient has no noise scale"

    def remarks(self) -> list[str]:
        remarks = []
        sigmas = (self.pac_bayes_sigma, self.pac_bayes_magnitude_sigma)
        if any(sigma is not None and sigma >= 0.99 * SIGMAS[1] for sigma in sigmas):
            remarks.append("a sigma is at the upper end of what is searched: the error does not rise with the noise")
        return remarks


@dataclass(frozen=True)
class Measures(Analysis):
    """Gradient noise scale (McCandlish et al. 2018, equation 2.9), Fisher-Rao norm (Liang et al. 2019, definition 3),
    relative flatness (Petzka et al. 2021, definition 3) and PAC-Bayes sigma (Jiang et al. 2020, appendix C)."""

    name: ClassVar[str] = "measures"
    summary: ClassVar[str] = "Gradient noise scale, Fisher-Rao norm, relative flatness and PAC-Bayes sigma."
    result: ClassVar[type[Result]] = MeasuresResult

    layer: str | None = option(None, help="Weight whose relative flatness is measured; default: the last matrix.")
    rtol: float = option(0.05, help="Half-width of its 95 % interval asked for, relative.", min=1e-6)
    max_products: int = option(1000, help="Products at most for it.", min=1)
    deviation: float = option(0.1, help="Rise of the error that defines the PAC-Bayes sigma.", min=1e-6, max=1)
    draws: int = option(15, help="Draws of the noise for it; 0 leaves it out.", min=0)
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, MeasuresResult]:
        import numpy as np

        reference = objective.reference
        known: dict[str, np.ndarray] = dict(resume or {})
        total = 2 + 2 * (BISECTIONS + 1) * (self.draws > 0)

        def done(note: str) -> Progress:
            return Progress(min(len(known), total), total, note, lambda: {n: v.copy() for n, v in known.items()})

        if "moments" not in known:
            known["moments"] = _moments(objective)
            yield done("the samples' gradients")
        if "flatness" not in known:
            known["flatness"] = self._relative_flatness(objective)
            yield done("relative flatness")
        for scaled in ("plain", "magnitude") if self.draws else ():
            if f"{scaled} 0" not in known:
                known[f"{scaled} 0"] = np.array(_errors(objective, objective.theta))
                yield done("error")
            if np.isnan(known[f"{scaled} 0"]):
                continue
            for step in range(1, BISECTIONS + 1):
                if f"{scaled} {step}" not in known:
                    known[f"{scaled} {step}"] = self._rise_fits(objective, scaled, known, step)
                    yield done(f"PAC-Bayes sigma, step {step}")
        return self._result(objective, known, reference.loss, reference.gradient_norm)

    def plan(self, objective: Objective) -> Plan:
        seconds = seconds_per_gradient(objective)
        losses = 2 * BISECTIONS * self.draws
        return Plan(
            bytes=8 * objective.theta.nbytes,
            products=EXPECTED_PRODUCTS,
            seconds=seconds * (SAMPLE_COST + 2.5 * EXPECTED_PRODUCTS + 0.4 * losses),
            facts={"losses": f"{losses:,}", "gradient": f"{seconds:.3g} s"},
        )

    def _group(self, objective: Objective) -> Group | None:
        """The weight whose relative flatness is asked for; None if there is no matrix."""
        matrices = [block.name for block in objective.space.blocks if len(block.shape) > 1]
        if self.layer is None:
            return objective.space.matching([matrices[-1]])[0] if matrices else None
        if self.layer not in matrices:
            raise UsageError(f"--layer {self.layer} is no matrix of the model", fix=f"one of {', '.join(matrices)}")
        return objective.space.matching([self.layer])[0]

    def _relative_flatness(self, objective: Objective) -> np.ndarray:
        """The estimate, its standard error and the products it took; NaN where there is none."""
        import numpy as np

        from landscape.algorithms import trace
        from landscape.algorithms.trace import Goal
        from landscape.operators import HessianOperator
        from landscape.operators.weighted_rows import WeightedRowsOperator

        group = self._group(objective)
        if group is None:
            return np.array([np.nan, np.nan, 0])
        weight = objective.space.unflatten(objective.theta)[group.names[0]]
        operator = WeightedRowsOperator(HessianOperator(objective), group, weight)
        goal = Goal("auto", self.rtol, self.max_products, min(64, operator.size) // 8 * 8, 0)
        *_, state = trace.traces(operator, (), goal, seed=self.seed)
        chosen = trace.best(state, goal)
        return np.array([chosen.value, chosen.error, state.products] if chosen else [np.nan, np.nan, state.products])

    def _rise_fits(self, objective: Objective, scaled: str, known: State, step: int) -> np.ndarray:
        """The logarithm of the largest sigma so far after one more bisection, and the width that is left."""
        import numpy as np

        low, high = _bracket(known, scaled, step)
        middle = (low + high) / 2
        allowed = float(known[f"{scaled} 0"]) + self.deviation
        fits = self._mean_error(objective, scaled, float(np.exp(middle))) <= allowed
        return np.array([middle, high] if fits else [low, middle])

    def _mean_error(self, objective: Objective, scaled: str, sigma: float) -> float:
        from landscape import seeds

        theta, total = objective.theta, 0.0
        deviation = (sigma**2 * theta**2 + MAGNITUDE_EPSILON**2).sqrt() if scaled == "magnitude" else sigma
        for draw in range(self.draws):
            noise = seeds.normal(len(theta), theta, self.seed, "sigma", draw)
            total += _errors(objective, theta + deviation * noise)
        return total / self.draws

    def _result(self, objective: Objective, known: State, loss: float, gradient_norm: float) -> MeasuresResult:
        import numpy as np

        noise_trace, fisher_rao = (float(value) for value in known["moments"])
        flatness, flatness_error, products = (float(value) for value in known["flatness"])
        error = float(known["plain 0"]) if self.draws else float("nan")
        ends = {name: float(np.exp(_bracket(known, name, BISECTIONS + 1)[0])) for name in ("plain", "magnitude")}
        classes = not np.isnan(error)
        return MeasuresResult(
            loss=loss,
            gradient_norm=gradient_norm,
            noise_trace=noise_trace,
            noise_scale=noise_trace / gradient_norm**2 if gradient_norm else float("nan"),
            fisher_rao=fisher_rao,
            relative_flatness=None if np.isnan(flatness) else flatness,
            relative_flatness_se=None if np.isnan(flatness) else flatness_error,
            error=error if classes else None,
            pac_bayes_sigma=ends["plain"] if classes else None,
            pac_bayes_magnitude_sigma=ends["magnitude"] if classes else None,
            deviation=self.deviation,
            draws=self.draws,
            products=int(products),
            parameters=objective.space.size,
            samples=objective.batches.samples,
        )


def _bracket(known: State, scaled: str, step: int) -> tuple[float, float]:
    """Logarithms of the bounds of sigma before a bisection."""
    import numpy as np

    last = known.get(f"{scaled} {step - 1}")
    low, high = last if last is not None and last.ndim else np.log(SIGMAS)
    return float(low), float(high)


def _moments(objective: Objective) -> np.ndarray:
    """The trace of the covariance of the samples' gradients, and the Fisher-Rao norm.

    A sample's gradient is N times its share in the mean gradient: their mean is the mean gradient.
    """
    import numpy as np

    from landscape.sample_gradients import moments

    squares, along = (float(value) for value in moments(objective))
    count, samples = objective.count, objective.batches.samples
    mean_square = squares * samples / count**2
    gradient = objective.reference.gradient_norm
    covariance = (mean_square - gradient**2) * samples / (samples - 1) if samples > 1 else float("nan")
    return np.array([covariance, (along * samples / count**2) ** 0.5])


def _errors(objective: Objective, theta: Tensor) -> float:
    """The share of wrong predictions at theta; NaN for a loss without classes."""
    import torch

    from landscape.batches import Batch
    from landscape.predictions import errors

    def kernel(batch: Batch) -> Tensor:
        with torch.no_grad():
            found = errors(objective.loss, objective.batch_output(theta, batch), batch.targets)
        wrong, counted = found if found else (torch.tensor(float("nan")), 1)
        return torch.tensor([float(wrong), float(counted)], dtype=torch.float64)

    wrong, counted = objective.accumulate(kernel).tolist()
    return wrong / counted if counted else float("nan")
