"""What published definitions of sharpness choose where `sharpness` leaves a choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from landscape.errors import UsageError

PROTOCOL_OPTIONS = (  # options of `sharpness` whose value a preset may decide
    "rho", "average_rho", "adaptive", "adaptive_eta", "unscaled", "norm", "m", "starts", "steps", "draws", "noise",
)  # fmt: skip
Preset = Literal["none", "sam", "asam", "asam-davda54", "andriushchenko", "keskar", "low-pass"]

# Foret et al. (2021), equation 2: one step along the gradient; rho of section 3.1
SAM = {"norm": "l2", "adaptive": "none", "rho": (0.05,), "starts": 1, "steps": 1, "draws": 0}
# Kwon et al. (2021), equation 7, with the scale |w| + eta on weights and 1 elsewhere, as the authors' code has it
ASAM = {**SAM, "adaptive": "element", "adaptive_eta": 0.01, "unscaled": ("!*weight*",), "rho": (0.5,)}
# the same step with |w| everywhere, as in the widely used implementation of davda54
ASAM_EVERYWHERE = {**SAM, "adaptive": "element", "adaptive_eta": 0.0, "rho": (2.0,)}
# Andriushchenko et al. (2023): batches of 128 of 1024 points, 20 gradients from one start; radii of their ResNet-18.
# Draws come in pairs here: ten are their 20
PROTOCOL: Mapping[str, Any] = {
    "adaptive": "element", "norm": "l2", "m": 128, "starts": 1, "steps": 19, "draws": 10,
    "average_rho": (0.05, 0.1, 0.2, 0.4),
}  # fmt: skip
PROTOCOL_RADII = {"l2": (0.25, 0.5, 1.0, 2.0), "linf": (0.001, 0.002, 0.004, 0.008)}
PROTOCOL_SAMPLES = 1024
# Keskar et al. (2017), equation 4: |y_i| <= epsilon (|w_i| + 1), with an epsilon of their table 3
KESKAR = {"norm": "linf", "adaptive": "element", "adaptive_eta": 1.0, "rho": (1e-3,), "draws": 0}
# Bisla, Wang and Choromanska (2022), equation 3: the loss averaged over noise of standard deviation 0.01 on all weights
LOW_PASS = {"adaptive": "none", "rho": (0.01,), "noise": "gaussian", "starts": 0}

USUAL: Mapping[str, Any] = {
    "adaptive": "element", "adaptive_eta": 0.0, "norm": "l2", "unscaled": (),
    "starts": 9, "steps": 20, "draws": 50, "noise": "gaussian", "m": None,
}  # fmt: skip
# radii at which trained nets rise by a few per cent of their loss or more, by adaptive and norm
RADII: Mapping[tuple[str, str], float] = {
    ("none", "l2"): 0.05, ("none", "linf"): 5e-4, ("element", "l2"): 0.2,
    ("element", "linf"): 2e-3, ("filter", "l2"): 0.05, ("filter", "linf"): 5e-4,
}  # fmt: skip
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "sam": SAM,
    "asam": ASAM,
    "asam-davda54": ASAM_EVERYWHERE,
    "andriushchenko": PROTOCOL,
    "keskar": KESKAR,
    "low-pass": LOW_PASS,
}


def protocol_for(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of the protocol: as given, else as the preset has it, else as usual.

    Options that are None or () are not given. The radii depend on the norm and the scaling.
    """
    chosen = {**USUAL, **PRESETS[preset], **{name: value for name, value in given.items() if value not in (None, ())}}
    if preset == "andriushchenko":
        chosen.setdefault("rho", PROTOCOL_RADII.get(chosen["norm"], ()))
        if not given.get("average_rho"):
            chosen["average_rho"] = _protocol_noise(chosen)
    if chosen["adaptive"] == "none":  # what a preset has of a scale does not outlive it
        chosen |= {"adaptive_eta": given.get("adaptive_eta") or 0.0, "unscaled": given.get("unscaled") or ()}
    chosen.setdefault("rho", (RADII.get((chosen["adaptive"], chosen["norm"]), 0.0),))
    if not chosen["draws"]:
        chosen["average_rho"] = given.get("average_rho") or chosen["rho"]
    chosen.setdefault("average_rho", chosen["rho"])
    return chosen


def _protocol_noise(chosen: Mapping[str, Any]) -> tuple[float, ...]:
    """The noise that the protocol has beside its radii; raises UsageError for a radius that is none of them."""
    pairs = dict(zip(PROTOCOL_RADII.get(chosen["norm"], ()), PROTOCOL["average_rho"], strict=True))
    if not chosen["draws"]:
        return tuple(chosen["rho"])
    strange = [radius for radius in chosen["rho"] if radius not in pairs]
    if strange:
        raise UsageError(
            f"--preset andriushchenko has no noise beside --rho {strange[0]:g}",
            fix=f"one of {', '.join(f'{radius:g}' for radius in pairs)}, or --average-rho, or --draws 0",
        )
    return tuple(pairs[radius] for radius in chosen["rho"])
