"""The curve of sharpness: rises at radii around the measured one, followed from its maximum and under its draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.analyses.neighborhood.average_case import NoiseRises
from landscape.analyses.neighborhood.ball_maxima import BallMaxima
from landscape.analyses.neighborhood.presets import SharpnessProtocol


@dataclass(frozen=True)
class FollowedCurve:
    """Maxima and rises under noise at the radii of a curve, in the order of their search."""

    radii: tuple[float, ...]
    worst: BallMaxima | None = None
    average: NoiseRises | None = None


def curve_columns(
    protocol: SharpnessProtocol, curve: FollowedCurve, worst: BallMaxima | None, average: NoiseRises | None
) -> dict[str, Any]:
    """The columns over all radii, ascending: those of the curve, and the one of the protocol between them."""
    (head,) = protocol.rho
    radii = np.array([*curve.radii, head])
    order = np.argsort(radii)
    columns: dict[str, Any] = {"radius": radii[order]}
    if worst is not None and curve.worst is not None:
        followed = curve.worst.mean(curve.worst.largest())
        columns["radius_s_max"] = np.append(followed, worst.mean(worst.largest()))[order]
    if average is not None and curve.average is not None:
        own, others = average.mean(), curve.average.mean()
        value, half, error = (
            np.append(getattr(others, name), getattr(own, name))[order]
            for name in ("value", "half_width", "standard_error")
        )
        columns |= {
            "radius_s_avg": value,
            "radius_s_avg_se": error,
            "radius_s_avg_interval": np.stack([value - half, value + half], axis=1),
        }
    return columns
