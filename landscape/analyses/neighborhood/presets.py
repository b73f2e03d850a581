"""Option values of published sharpness definitions (SAM, ASAM, Keskar, ...), and the protocol that options describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from landscape.choices import Adaptive, Noise, Norm
from landscape.errors import UsageError

Preset = Literal["none", "sam", "asam", "asam-davda54", "andriushchenko", "keskar", "low-pass"]

# Foret et al. (2021), equation 2: one step along the gradient; rho of section 3.1
SAM = {"norm": "l2", "adaptive": "none", "rho": (0.05,), "starts": 1, "steps": 1, "draws": 0}
# Kwon et al. (2021), equation 7, with the scale |w| + eta on weights and 1 elsewhere, as in the authors' code
ASAM = {**SAM, "adaptive": "element", "adaptive_eta": 0.01, "unscaled": ("!*weight*",), "rho": (0.5,)}
# the same step with |w| everywhere, as in the widely used implementation of davda54
ASAM_EVERYWHERE = {**SAM, "adaptive": "element", "adaptive_eta": 0.0, "rho": (2.0,)}
# Andriushchenko et al. (2023): batches of 128 of 1024 points, 20 gradients from one start; radii of their ResNet-18.
# Draws here are pairs: ten pairs are their 20 draws
ANDRIUSHCHENKO: Mapping[str, Any] = {
    "adaptive": "element", "norm": "l2", "m": 128, "starts": 1, "steps": 19, "draws": 10,
    "average_rho": (0.05, 0.1, 0.2, 0.4),
}  # fmt: skip
ANDRIUSHCHENKO_RADII = {"l2": (0.25, 0.5, 1.0, 2.0), "linf": (0.001, 0.002, 0.004, 0.008)}
ANDRIUSHCHENKO_SAMPLES = 1024
# Keskar et al. (2017), equation 4: |y_i| <= epsilon (|w_i| + 1), with an epsilon of their table 3
KESKAR = {"norm": "linf", "adaptive": "element", "adaptive_eta": 1.0, "rho": (1e-3,), "draws": 0}
# Bisla, Wang and Choromanska (2022), equation 3: the loss averaged over noise of standard deviation 0.01 on all weights
LOW_PASS = {"adaptive": "none", "rho": (0.01,), "noise": "gaussian", "starts": 0}

DEFAULTS: Mapping[str, Any] = {
    "adaptive": "element", "adaptive_eta": 0.0, "norm": "l2", "unscaled": (),
    "starts": 9, "steps": 20, "draws": 50, "noise": "gaussian", "m": None,
}  # fmt: skip
# radii at which the loss of trained nets rises by a few percent or more, by adaptive and norm
DEFAULT_RADII: Mapping[tuple[str, str], float] = {
    ("none", "l2"): 0.05, ("none", "linf"): 5e-4, ("element", "l2"): 0.2,
    ("element", "linf"): 2e-3, ("filter", "l2"): 0.05, ("filter", "linf"): 5e-4,
}  # fmt: skip
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "sam": SAM,
    "asam": ASAM,
    "asam-davda54": ASAM_EVERYWHERE,
    "andriushchenko": ANDRIUSHCHENKO,
    "keskar": KESKAR,
    "low-pass": LOW_PASS,
}


@dataclass(frozen=True)
class SharpnessProtocol:
    """Every choice of a sharpness measurement: the given options, completed by the preset and the defaults.

    Radii ascend, and `average_rho` pairs with `rho`. Raises UsageError for choices that contradict each other.
    """

    rho: tuple[float, ...]
    average_rho: tuple[float, ...]
    adaptive: Adaptive
    adaptive_eta: float
    unscaled: tuple[str, ...]
    norm: Norm
    m: int | None  # None: all samples are one batch
    starts: int
    steps: int
    draws: int
    noise: Noise

    def __post_init__(self) -> None:
        if not (self.starts or self.draws):
            raise UsageError("neither worst case nor average is asked for", fix="--starts or --draws above 0")
        if self.draws == 1:
            raise UsageError("--draws 1 has no standard error", fix="--draws 2 or more, or 0 for no s_avg")
        if not self.draws and self.average_rho != self.rho:
            raise UsageError("--average-rho is that of s_avg, which --draws 0 leaves out", fix="--draws above 0")


PROTOCOL_OPTIONS = tuple(field.name for field in fields(SharpnessProtocol))


def protocol_for(preset: str, given: Mapping[str, Any]) -> SharpnessProtocol:
    """The protocol whose choices are the given options, else the preset's values, else the defaults.

    Options that are None or () are not given. Default radii depend on the norm and the scaling.
    """
    explicit = {name: value for name, value in given.items() if value not in (None, ())}
    chosen = {**DEFAULTS, **PRESETS[preset], **explicit}
    if preset == "andriushchenko":
        chosen.setdefault("rho", ANDRIUSHCHENKO_RADII.get(chosen["norm"], ()))
        if "average_rho" not in explicit:
            chosen["average_rho"] = _andriushchenko_noise(chosen)
    if chosen["adaptive"] == "none":  # the preset's scale must not survive --adaptive none
        chosen |= {"adaptive_eta": explicit.get("adaptive_eta", 0.0), "unscaled": explicit.get("unscaled", ())}
    chosen.setdefault("rho", (DEFAULT_RADII.get((chosen["adaptive"], chosen["norm"]), 0.0),))
    if not chosen["draws"]:
        chosen["average_rho"] = explicit.get("average_rho", chosen["rho"])
    chosen.setdefault("average_rho", chosen["rho"])
    return SharpnessProtocol(**{**chosen, **_pair_radii(chosen["rho"], chosen["average_rho"])})


def _pair_radii(radii: tuple[float, ...], noise: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    """Both in ascending order of the radii, without repeats; raises UsageError unless there are equally many."""
    if len(radii) != len(noise):
        raise UsageError(f"{len(radii)} --rho and {len(noise)} --average-rho", fix="as many of one as of the other")
    pairs = sorted(set(zip(radii, noise, strict=True)))
    return {"rho": tuple(radius for radius, _ in pairs), "average_rho": tuple(size for _, size in pairs)}


def _andriushchenko_noise(chosen: Mapping[str, Any]) -> tuple[float, ...]:
    """The noise that the protocol pairs with its radii; raises UsageError for a radius that is none of them."""
    pairs = dict(zip(ANDRIUSHCHENKO_RADII.get(chosen["norm"], ()), ANDRIUSHCHENKO["average_rho"], strict=True))
    if not chosen["draws"]:
        return tuple(chosen["rho"])
    unpaired = [radius for radius in chosen["rho"] if radius not in pairs]
    if unpaired:
        raise UsageError(
            f"--preset andriushchenko has no noise beside --rho {unpaired[0]:g}",
            fix=f"one of {', '.join(f'{radius:g}' for radius in pairs)}, or --average-rho, or --draws 0",
        )
    return tuple(pairs[radius] for radius in chosen["rho"])
