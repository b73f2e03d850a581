"""What sharpness and flatness share as descriptions: options of the scale of each weight, radii, and remarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Analysis
from landscape.choices import Adaptive, LogitNorm
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    import numpy as np

STATIONARITY_BOUND = 0.05  # 1 - cos(u, slope) above which the end of an ascent is not called a local maximum
# Share of the starts that must agree on a maximum. Starts missed 12 maxima in 625 balls of tiny nets: 9 of them had
# fewer than half of the starts behind them, 2 fewer than a third. Boxes were alike. In larger nets starts mostly agree.
MIN_AGREEMENT = 1 / 2


@dataclass(frozen=True)
class WeightScaling:
    """How the scale c of each weight follows from the weights, as `evaluation.scaling.scale` computes it.

    Raises UsageError if options of the scale are given although every scale is 1.
    """

    adaptive: Adaptive
    adaptive_eta: float
    unscaled: tuple[str, ...]
    fixed: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.adaptive == "none" and (self.adaptive_eta or self.unscaled):
            raise UsageError(
                "--adaptive-eta and --unscaled say how weights are scaled, and --adaptive none does not scale them",
                fix="--adaptive element or filter",
            )


@dataclass(frozen=True)
class Perturbation(Analysis):
    """Base class of analyses of the loss at theta + c u: c is the scale of each weight; u lies in a ball, or is random.

    `scaling` returns what subclasses make of their options of the scale.
    """

    unscaled: tuple[str, ...] = option(
        (), help="Glob over parameters that keep scale 1; '!GLOB': all but these. Repeatable."
    )
    fixed: tuple[str, ...] = option((), help="Glob over parameters that do not move, e.g. '*.bias'. Repeatable.")
    logit_norm: LogitNorm = option(
        "none", title="logits / {}", help="Center each sample's logits and divide by their norm or standard deviation."
    )
    per_layer: bool = option(False, help="Also compute each module's share in the worst move.")
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    @property
    def scaling(self) -> WeightScaling:
        """The scale of the weights that these options describe."""
        raise NotImplementedError(f"{type(self).__name__} does not define its scaling")

    def identity(self) -> dict[str, Any]:
        """The options that decide the result, as they are measured: stored and compared between runs."""
        return {**super().identity(), **asdict(self.scaling)}


def parse_globs(globs: Any) -> tuple[str, ...]:
    """One glob, or several, as a tuple."""
    return (globs,) if isinstance(globs, str) else tuple(globs)


def parse_radii(radii: Any, flag: str) -> tuple[float, ...]:
    """One number, or several, as floats; raises UsageError unless each is a finite number above 0."""
    try:
        numbers = tuple(float(radius) for radius in (radii if isinstance(radii, Iterable) else (radii,)))
    except (TypeError, ValueError):
        raise UsageError(f"{flag} is {radii!r}", fix="a number, or several") from None
    bad = [radius for radius in numbers if not 0 < radius < float("inf")]
    if bad:
        raise UsageError(f"{flag} is {bad[0]:g}", fix="numbers above 0")
    return numbers


def scaling_title(stored: Mapping[str, Any]) -> str:
    """How the weights were scaled, for the title of a result with these stored options: `element-wise`."""
    return "standard" if stored["adaptive"] == "none" else f"{stored['adaptive']}-wise"


# -- remarks on the maxima over balls: a sentence for all radii that it concerns, or none ------------------------------


def rounding_remark(radii: np.ndarray, quantity: str, floor: float, smallest: str) -> list[str]:
    """Warns that the rise at these radii may be rounding; `smallest` names the smallest radii to trust, if known."""
    if not len(radii):
        return []
    trusted = f"; the smallest rho to trust is about {smallest}" if smallest else ""
    return [
        f"rounding: at rho {_join(radii)} {quantity} rises by less than {floor:.2g}, which may be rounding{trusted} "
        "(or --dtype float64)"
    ]


def agreement_remark(radii: np.ndarray, hits: np.ndarray, starts: np.ndarray, quantity: str) -> list[str]:
    """Warns that one of several ascents, or fewer than half of them, found the maximum at some of the radii."""
    alone = (hits == 1) & (starts > 1)
    few = ~alone & (hits < MIN_AGREEMENT * starts)
    finders = {"one start alone": radii[alone], "fewer than half of the starts": radii[few]}
    return [
        f"{quantity} at rho {_join(found)} was found by {finder}: more --starts may find more"
        for finder, found in finders.items()
        if len(found)
    ]


def slope_remark(radii: np.ndarray, quantity: str) -> list[str]:
    """Warns that the best ascent at these radii did not end at a local maximum."""
    if not len(radii):
        return []
    ended = "the best ascent ended on a slope, at a kink or because --steps ran out"
    return [f"{quantity} at rho {_join(radii)} may be larger: {ended}"]


def multimodal_reason(modes: np.ndarray | None, place: tuple[int, ...]) -> str:
    """Why the maximum at this radius is not unique: the ascents found several; "" if they found one."""
    if modes is None or not place or modes[place[0]] != "multimodal":
        return ""
    return "multimodal: the ascents found several maxima, and this is the highest of them"


def _join(radii: np.ndarray) -> str:
    return ", ".join(f"{radius:g}" for radius in radii)
