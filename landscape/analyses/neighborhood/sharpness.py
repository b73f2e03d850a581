"""How far the loss rises in a neighbourhood of the weights: in the worst case, and on average."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Plan, Progress, Result, State, Trouble
from landscape.analyses.neighborhood import presets, remarks
from landscape.analyses.neighborhood.average_case import (
    CONTROL_PRODUCTS,
    LAW_PROBES,
    VARIANCE,
    NoiseRises,
    NoiseSampling,
    sample_rises,
)
from landscape.analyses.neighborhood.perturbation import (
    Perturbation,
    loss_in_ball,
    parse_radii,
    require_finite_base,
    scaling,
)
from landscape.analyses.neighborhood.presets import Preset
from landscape.analyses.neighborhood.worst_case import BallMaxima, BallSearch, ascent_columns, maximize_in_balls
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.timing import seconds_per_gradient
from landscape.choices import Adaptive, Noise, Norm
from landscape.errors import UsageError
from landscape.fields import Gauge, array, option, scalar, validate

if TYPE_CHECKING:
    import numpy as np

    from landscape.objective import Objective

PRODUCT_COST = 2.5  # of a gradient's time, for a product in the plan
LOSS_COST = 0.4  # and for a loss
EIGENVECTOR_PRODUCTS = 12  # that the starts took on trained nets


@dataclass(frozen=True, kw_only=True)
class SharpnessResult(Result):
    """Rises of the mean loss over radii, each with what is known of its error; all radii ascend."""

    tables: ClassVar[tuple[str, ...]] = ("rho", "layer")

    rho: np.ndarray = array("rho", help="Radius of the ball.")
    s_max: np.ndarray | None = array(
        "rho",
        help="Largest rise of the loss that was found in the ball: a lower bound.",
        optional=True,
        gauge=Gauge(
            floor="rounding",
            advice='gate on it with norm = "linf" in [check.sharpness]: the maximum is then mostly unique',
        ),
    )
    starts: np.ndarray | None = array("rho", detail=True, help="Ascents that looked for it.", optional=True)
    hits: np.ndarray | None = array(
        "rho", help="Of these, within 1 % of the largest; the fewest of any batch.", optional=True
    )
    spread: np.ndarray | None = array(
        "rho", detail=True, help="(Largest - smallest) / largest of the ascents.", optional=True
    )
    stationarity: np.ndarray | None = array(
        "rho",
        detail=True,
        help="1 - <u, z> / (rho ||z||*) with z the slope at the maximiser u: 0 at a local maximum.",
        optional=True,
    )
    mode: np.ndarray | None = array(
        "rho",
        words=True,
        help="unique if all ascents found the same maximum, multimodal if not, or one start.",
        optional=True,
    )
    average_rho: np.ndarray | None = array(
        "rho", detail=True, help="Standard deviation of the noise, or its bound if uniform.", optional=True
    )
    s_avg: np.ndarray | None = array(
        "rho",
        help="Mean rise under the noise.",
        optional=True,
        gauge=Gauge("s_avg_se", "s_avg_draws", "rounding", advice="gate on it: its draws are antithetic, and shared"),
    )
    s_avg_se: np.ndarray | None = array("rho", help="Its standard error over the draws.", optional=True)
    s_avg_interval: np.ndarray | None = array("rho", "bound", help="Its 95 % t-interval.", optional=True)
    s_avg_draws: np.ndarray | None = array(
        "draw", "rho", help="Mean rise of each pair, less what the control variate explains.", optional=True
    )
    resolved: np.ndarray = array("rho", detail=True, help="Whether the rises stand clear of the loss' rounding.")
    keskar: np.ndarray | None = array("rho", help="100 s_max / (1 + loss), with --preset keskar.", optional=True)
    low_pass: np.ndarray | None = array("rho", help="loss + s_avg, with --preset low-pass.", optional=True)
    s_max_law: np.ndarray | None = array(
        "rho",
        detail=True,
        help="rho ||c g||* + rho^2 lambda / 2, which s_max approaches as rho falls (lambda in an l2 ball only).",
        optional=True,
    )
    s_avg_law: np.ndarray | None = array(
        "rho",
        detail=True,
        help="Half the trace of C H C times the noise's variance, which s_avg approaches as rho falls.",
        optional=True,
    )
    start: np.ndarray | None = array("start", help="Where each ascent began.", optional=True)
    start_rises: np.ndarray | None = array(
        "rho", "start", help="What each ascent reached; the mean over batches.", optional=True
    )
    layer: np.ndarray | None = array("layer", help="Module that owns parameters, largest share first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_share: np.ndarray | None = array(
        "layer", help="Its share in slope times move at the maximiser of the largest rho.", optional=True
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    normalised_loss: float | None = scalar("Mean loss of the normalised logits (--logit-norm).", optional=True)
    scaled_gradient: float | None = scalar(
        "||c g||, in the dual norm of the ball; the mean over batches.", optional=True
    )
    scaled_curvature: float | None = scalar("Largest eigenvalue of C H C to 5 %; the mean over batches.", optional=True)
    scaled_trace: float | None = scalar("Trace of C H C, roughly.", optional=True)
    scaled_trace_se: float | None = scalar("Its standard error over a few probes.", optional=True)
    rounding: float = scalar("The smallest rise that stands clear of rounding.")
    smallest_rho: float | None = scalar("The radius whose s_max is about that rise.", optional=True)
    smallest_average_rho: float | None = scalar("The noise whose s_avg is about that rise.", optional=True)
    gradients: int = scalar("Gradients of the mean loss for s_max, or of a batch's with --m.")
    draws: int = scalar("Antithetic pairs for s_avg; each takes two losses for every rho.")
    steps: int | None = scalar("Gradients of each ascent at most.", optional=True)
    m: int = scalar("Samples in a batch, whose worst cases are averaged.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    rtol: float | None = scalar("Largest half-width asked for, relative to s_avg (--rtol).", optional=True)

    def trouble(self) -> Trouble | None:
        import numpy as np

        for name in ("s_max", "s_avg"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                radius = (self.rho if name == "s_max" else self.average_rho)[int((~np.isfinite(values)).argmax())]  # type: ignore[index]
                why = f"the loss is not finite within rho = {radius:g} ({name})"
                return Trouble(why, "a smaller --rho, or --dtype float64", "not finite")
        if self.rtol is not None and self.s_avg is not None and self.s_avg_interval is not None:
            half = np.ptp(self.s_avg_interval, axis=1) / 2
            wide = half > self.rtol * np.abs(self.s_avg)
            if wide.any():
                worst = float((half / np.abs(self.s_avg))[wide].max())
                return Trouble(
                    f"half-width {worst:.2g} of s_avg after {self.draws} pairs, {self.rtol:g} was asked for",
                    "the same command with a larger --max-draws resumes it, or --restart with a larger --rtol",
                )
        return None

    def not_unique(self, field: str, place: tuple[int, ...]) -> str:
        return remarks.multimodal(self.mode, place) if field in ("s_max", "keskar") else ""

    def remarks(self) -> list[str]:
        import numpy as np

        known = {"s_max": self.smallest_rho, "s_avg": self.smallest_average_rho}
        smallest = ", ".join(f"{value:.2g} for {name}" for name, value in known.items() if value is not None)
        found = remarks.rounding(self.rho[~self.resolved], "the loss", self.rounding, smallest)
        if self.s_max is not None and self.hits is not None and self.starts is not None and (self.steps or 0) > 1:
            alone = (self.hits == 1) & (self.starts > 1) & np.isfinite(self.s_max)
            sloping = (np.asarray(self.stationarity) > remarks.SLOPING) & (self.s_max > self.rounding)
            found += remarks.alone(self.rho[alone], "s_max") + remarks.unfinished(self.rho[sloping], "s_max")
        return found


@dataclass(frozen=True)
class Sharpness(Perturbation):
    """Worst-case and average-case sharpness, standard or adaptive (Andriushchenko et al. 2023, equations 1-3)."""

    name: ClassVar[str] = "sharpness"
    summary: ClassVar[str] = "How far the loss rises around the weights: worst case and average, standard or adaptive."
    result: ClassVar[type[Result]] = SharpnessResult

    preset: Preset = option("none", title=True, help="A published definition, which the options below may change.")
    rho: tuple[float, ...] = option(
        (), help="Radius of the ball and standard deviation of the noise; several give a curve. Default 0.2, "
        "or what suits --adaptive and --norm.",
    )  # fmt: skip
    average_rho: tuple[float, ...] = option((), help="Another standard deviation of the noise for each rho.")
    norm: Norm = option(
        None, title=lambda stored: f"{scaling(stored)} {stored['norm']}", help="The ball's norm. Default l2."
    )
    adaptive: Adaptive = option(
        None, help="Scale of a weight: none (1), element (its size) or filter (its filter's norm). Default element."
    )
    adaptive_eta: float = option(None, help="Added to that scale, with --adaptive. Default 0.", min=0)
    m: int = option(
        None,
        title="m {}",
        help="Worst cases of batches of so many samples, averaged; default all samples at once.",
        min=1,
    )
    starts: int = option(
        None, help="Ascents: the gradient, eigenvectors, random ones. Default 9; 5 are fast, 0 for no s_max.", min=0
    )
    steps: int = option(None, help="Gradients of each ascent at most; 1 measures its start alone. Default 20.", min=1)
    draws: int = option(None, help="Antithetic pairs of the average case; 0 for no s_avg. Default 50.", min=0)
    noise: Noise = option(None, help="Noise of the average case. Default gaussian.")
    rtol: float | None = option(
        None, help="Draw on until the 95 % interval of s_avg is so narrow, half-width by mean.", min=1e-6
    )
    max_draws: int = option(5000, help="Pairs at most, with --rtol (exit 3).", min=2, identity=False)

    def __post_init__(self) -> None:
        validate(self)
        for name, flag in (("rho", "--rho"), ("average_rho", "--average-rho")):
            object.__setattr__(self, name, parse_radii(getattr(self, name), flag))
        chosen = presets.protocol_for(self.preset, {name: getattr(self, name) for name in presets.PROTOCOL_OPTIONS})
        for name in presets.PROTOCOL_OPTIONS:
            object.__setattr__(self, name, chosen[name])
        super().__post_init__()
        if len(self.rho) != len(self.average_rho):
            raise UsageError(
                f"{len(self.rho)} --rho and {len(self.average_rho)} --average-rho", fix="as many of one as of the other"
            )
        pairs = sorted(set(zip(self.rho, self.average_rho, strict=True)))
        object.__setattr__(self, "rho", tuple(radius for radius, _ in pairs))
        object.__setattr__(self, "average_rho", tuple(radius for _, radius in pairs))
        if not (self.starts or self.draws):
            raise UsageError("neither worst case nor average is asked for", fix="--starts or --draws above 0")
        if self.draws == 1:
            raise UsageError("--draws 1 has no standard error", fix="--draws 2 or more, or 0 for no s_avg")
        if not self.draws and self.average_rho != self.rho:
            raise UsageError("--average-rho is that of s_avg, which --draws 0 leaves out", fix="--draws above 0")
        if self.rtol is not None and not self.draws:
            raise UsageError("--rtol is asked of s_avg, which --draws 0 leaves out", fix="--draws above 0")

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, SharpnessResult]:
        import numpy as np

        subject, scale, groups = self.subject(objective), self.scale(objective), self.groups(objective)
        reference = objective.reference
        samples = objective.batches.samples
        self._note_samples(objective, samples)
        base = reference.loss if subject is objective else float(subject.value())
        require_finite_base(base, self.logit_norm)
        floor = self.floor(objective, lambda theta: float(subject.value(theta)), base)
        phases = Phases(resume)
        worst: BallMaxima | None = None
        drawn: NoiseRises | None = None
        if self.starts:
            search = BallSearch(self.norm, self.rho, self.starts, self.steps, self.m, self.seed)
            hill = loss_in_ball(scale, self.starts)
            worst = yield from phases.run(
                "worst", lambda saved: maximize_in_balls(subject, scale, hill, search, groups, saved)
            )
        if self.draws:
            plan = NoiseSampling(self.average_rho, self.noise, self.draws, self.rtol, self.max_draws, self.seed)
            drawn = yield from phases.run("average", lambda saved: sample_rises(subject, scale, base, plan, saved))
        return SharpnessResult(
            rho=np.array(self.rho),
            **(self._worst(worst, base) if worst else {}),
            **(self._average(drawn, base) if drawn else {}),
            **(ascent_columns(worst, groups) if worst else {}),
            **self._resolution(worst, drawn, floor),
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            normalised_loss=None if subject is objective else base,
            gradients=(worst.evaluations + len(worst.weights)) if worst else 0,
            draws=len(drawn.rises) if drawn else 0,
            steps=self.steps if worst else None,
            m=min(self.m or samples, samples),
            parameters=objective.space.size,
            samples=samples,
            rtol=self.rtol,
        )

    def plan(self, objective: Objective) -> Plan:
        from landscape.evaluation.points import VECTORIZED_BYTES, points_per_pass

        parts = -(-objective.batches.samples // (self.m or objective.batches.samples))
        gradients = self.starts * self.steps * len(self.rho)  # of all the data: a batch's is a part of one
        products = (EIGENVECTOR_PRODUCTS if self.starts > 1 else 0) + (
            CONTROL_PRODUCTS + LAW_PROBES if self.draws else 0
        )
        losses = 2 * self.draws * len(self.rho)
        seconds = seconds_per_gradient(objective)
        each = {"batches": f"{parts:,} of {self.m:,} samples"} if self.m else {}
        facts = {
            **each,
            "gradients": f"at most {gradients:,}, of all the data",
            "losses": f"{losses:,}",
            "gradient": f"{seconds:.3g} s",
        }
        drawing = CONTROL_PRODUCTS + 8 if self.draws else 0
        vectors = max(2 * self.starts + 9, drawing)
        shared = VECTORIZED_BYTES if points_per_pass(objective, self.starts + 1) > 1 else 0
        whole = seconds * (gradients + PRODUCT_COST * products + LOSS_COST * losses + 2)
        return Plan(bytes=vectors * objective.theta.nbytes + shared, products=products, seconds=whole, facts=facts)

    def _note_samples(self, objective: Objective, samples: int) -> None:
        """What is not as usual about the batches and the protocol."""
        if self.preset == "andriushchenko" and samples != presets.PROTOCOL_SAMPLES:
            wanted = presets.PROTOCOL_SAMPLES
            remedy = f": --limit {wanted}" if samples > wanted else ""
            objective.notes.append(f"that protocol takes {wanted:,} samples, not {samples:,}{remedy}")
        if self.m is not None and (self.m > samples or samples % self.m):
            left = f"the last batch has {samples % self.m}" if self.m < samples else f"there are {samples:,}"
            objective.notes.append(f"batches of {self.m:,} samples: {left}")

    def _worst(self, found: BallMaxima, base: float) -> dict[str, Any]:
        """What the ascents say."""
        import numpy as np

        radii = np.array(self.rho)
        highest = found.mean(found.largest())
        curvature = float(found.mean(found.curvatures))
        dual = float(found.mean(found.duals))
        curved = 0.0 if self.norm == "linf" or np.isnan(curvature) else curvature
        return {
            "s_max": highest,
            "s_max_law": radii * dual + radii**2 * max(curved, 0.0) / 2,
            "scaled_gradient": dual,
            "scaled_curvature": None if np.isnan(curvature) else curvature,
            "keskar": 100 * highest / (1 + base) if self.preset == "keskar" else None,
        }

    def _average(self, drawn: NoiseRises, base: float) -> dict[str, Any]:
        """What the draws say."""
        import numpy as np

        found, known = drawn.mean(), not np.isnan(drawn.trace).any()
        law = np.array(self.average_rho) ** 2 * VARIANCE[self.noise] * float(drawn.trace[0]) / 2
        return {
            "average_rho": np.array(self.average_rho),
            "s_avg": found.value,
            "s_avg_se": found.standard_error,
            "s_avg_interval": np.stack([found.value - found.half_width, found.value + found.half_width], axis=1),
            "s_avg_draws": found.draws,
            "s_avg_law": law if known else None,
            "scaled_trace": float(drawn.trace[0]) if known else None,
            "scaled_trace_se": float(drawn.trace[1]) if known else None,
            "low_pass": base + found.value if self.preset == "low-pass" else None,
        }

    def _resolution(self, worst: BallMaxima | None, drawn: NoiseRises | None, floor: float) -> dict[str, Any]:
        """Which rises stand clear of rounding, and the radii from which they would by the small-rho laws."""
        import numpy as np

        clear = np.ones(len(self.rho), bool)
        smallest: dict[str, Any] = {}
        if worst:
            clear &= ~(worst.mean(worst.largest()) < floor)
            slope, curvature = (
                float(worst.mean(worst.duals)),
                max(float(np.nan_to_num(worst.mean(worst.curvatures))), 0.0),
            )
            curvature = 0.0 if self.norm == "linf" else curvature
            root = slope + (slope**2 + 2 * curvature * floor) ** 0.5  # of slope rho + curvature rho^2 / 2 = floor
            smallest["smallest_rho"] = 2 * floor / root if root > 0 else None
        if drawn:
            clear &= ~(np.abs(drawn.mean().value) < floor)
            half = VARIANCE[self.noise] * abs(float(np.nan_to_num(drawn.trace[0]))) / 2
            smallest["smallest_average_rho"] = (floor / half) ** 0.5 if half > 0 else None
        return {"resolved": clear, "rounding": floor, **smallest}
