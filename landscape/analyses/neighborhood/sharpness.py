"""Sharpness: how far the loss rises in a neighborhood of the weights, in the worst case and on average."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import MeasurementModule, Result
from landscape.analyses.neighborhood.perturbation import (
    Perturbation,
    WeightScaling,
    parse_globs,
    parse_radii,
    scaling_title,
)
from landscape.analyses.neighborhood.presets import (
    DEFAULTS,
    PROTOCOL_OPTIONS,
    Preset,
    SharpnessProtocol,
    protocol_for,
)
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.analyses.shared.by_population import ByPopulation
from landscape.analyses.shared.work_budget import budget_option
from landscape.choices import Adaptive, Noise, Norm
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    from landscape.objective import Objective

SIZES = ("rho", "average_rho", "curve", "starts", "steps", "draws", "rtol")  # the budget decides where none is given


@dataclass(frozen=True)
class Sharpness(Perturbation, ByPopulation):
    """Worst-case and average-case sharpness, standard or adaptive (Andriushchenko et al. 2023, equations 1-3).

    Options that are not given follow from the preset; `protocol` holds the values that are measured. Where neither a
    preset nor any size is given, the budget decides the starts, the draws and the curve around the usual radius.

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> analysis = landscape.Sharpness(rho=0.1, starts=3, draws=8)
    >>> analysis.protocol.norm
    'l2'
    >>> result = landscape.run(analysis, objective)
    >>> bool(result.s_max[0] > 0), result.hits.shape
    (True, (1,))
    """

    name: ClassVar[str] = "sharpness"
    summary: ClassVar[str] = "Rise of the loss around the weights, at worst and on average."
    result: ClassVar[type[Result]] = SharpnessResult

    preset: Preset = option("none", title=True, help="A published definition, which the options below may change.")
    rho: tuple[float, ...] = option(
        (),
        help="Radius of the ball and standard deviation of the noise; several give a curve. Default 0.2, or the one "
        "that suits --adaptive and --norm.",
    )
    average_rho: tuple[float, ...] = option((), help="Another standard deviation of the noise for each rho.")
    curve: tuple[float, ...] = option(
        (),
        help="Further radii, followed from the maximum at --rho by few gradients and draws. Default: none beside a "
        "preset or a given size, else from a quarter of the radius to twice it, as far as --budget buys it.",
    )
    norm: Norm | None = option(
        None,
        usual=DEFAULTS["norm"],
        title=lambda stored: f"{scaling_title(stored)} {stored['norm']}",
        help="The ball's norm.",
    )
    adaptive: Adaptive | None = option(
        None,
        usual=DEFAULTS["adaptive"],
        help="Scale of a weight: none (1), element (its size) or filter (its filter's norm).",
    )
    adaptive_eta: float | None = option(
        None, usual=DEFAULTS["adaptive_eta"], help="Added to that scale, with --adaptive.", min=0
    )
    m: int | None = option(
        None, title="m {}", help="Samples in a batch: the worst case of each is averaged; default all samples.", min=1
    )
    starts: int | None = option(
        None,
        usual=DEFAULTS["starts"],
        help="Ascents: along the gradient, eigenvectors, random directions. 5 are fast, 0 leaves out s_max.",
        min=0,
    )
    steps: int | None = option(
        None, usual=DEFAULTS["steps"], help="Gradients of each ascent at most; 1 measures its start alone.", min=1
    )
    draws: int | None = option(
        None, usual=DEFAULTS["draws"], help="Antithetic pairs of the average case; 0 leaves out s_avg.", min=0
    )
    noise: Noise | None = option(None, usual=DEFAULTS["noise"], help="Noise of the average case.")
    rtol: float | None = option(
        None, help="Add draws until the half-width of the 95 % interval is this share of s_avg.", min=1e-6
    )
    budget: float = budget_option("--starts, --draws and --curve")
    max_draws: int = option(5000, help="Pairs at most, with --rtol (exit 3).", min=2, identity=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rtol is not None and not self.protocol.draws:
            raise UsageError("--rtol is asked of s_avg, which --draws 0 leaves out", fix="--draws above 0")
        object.__setattr__(self, "curve", tuple(sorted({*parse_radii(self.curve, "--curve")} - {*self.protocol.rho})))
        if self.curve and (len(self.protocol.rho) > 1 or self.protocol.average_rho != self.protocol.rho):
            raise UsageError("--curve surrounds one --rho, with noise of the same size", fix="several --rho instead")
        _ = self.scaling  # raises UsageError for options that contradict each other

    @cached_property
    def protocol(self) -> SharpnessProtocol:
        """The choices of the measurement: the given options, completed by the preset and the defaults."""
        given = {name: getattr(self, name) for name in PROTOCOL_OPTIONS}
        given["rho"] = parse_radii(self.rho, "--rho")
        given["average_rho"] = parse_radii(self.average_rho, "--average-rho")
        given["unscaled"] = parse_globs(self.unscaled)
        return protocol_for(self.preset, given)

    @property
    def scaling(self) -> WeightScaling:
        """The scale of the weights that the protocol describes."""
        protocol = self.protocol
        return WeightScaling(protocol.adaptive, protocol.adaptive_eta, protocol.unscaled, parse_globs(self.fixed))

    def identity(self) -> dict[str, Any]:
        """The options that decide the result, as they are measured: stored and compared between runs."""
        return {**super().identity(), **asdict(self.protocol)}

    def fit_budget(self, objective: Objective) -> Sharpness:
        """The analysis with its starts, draws and curve: as given, or where no size is, what the budget buys."""
        if self.preset != "none" or any(_is_given(getattr(self, name)) for name in SIZES):
            return self
        from landscape.analyses.neighborhood.sharpness_cost import look_within_budget

        look = look_within_budget(self, objective)
        (rho,) = self.protocol.rho
        curve = tuple(rho * factor for factor in look.factors)
        return replace(self, starts=look.starts, steps=self.protocol.steps, draws=look.draws, curve=curve)

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.neighborhood import sharpness_measurement

        return sharpness_measurement


def _is_given(value: Any) -> bool:
    """Whether a size is given: a number, or radii of any kind, arrays among them."""
    return value is not None and not (isinstance(value, Sized) and len(value) == 0)
