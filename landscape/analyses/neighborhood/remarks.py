"""What a reader of worst cases must know, a sentence each; nothing where it concerns no radius."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SLOPING = 0.05  # stationarity beyond which a point is not taken for a local maximum


def rounding(radii: np.ndarray, what: str, floor: float, smallest: str) -> list[str]:
    """That at these radii a rise may be rounding, with the smallest radii to trust; nothing if there are none."""
    if not len(radii):
        return []
    trusted = f"; the smallest rho to trust is about {smallest}" if smallest else ""
    return [
        f"rounding: at rho {_listed(radii)} {what} rises by less than {floor:.2g}, which rounding may make up{trusted} "
        "(or --dtype float64)"
    ]


def alone(radii: np.ndarray, what: str) -> list[str]:
    """That at these radii the largest rise was found once; nothing if there are none."""
    if not len(radii):
        return []
    return [f"{what} at rho {_listed(radii)} was found by one start alone: more --starts may find more"]


def _listed(radii: np.ndarray) -> str:
    return ", ".join(f"{radius:g}" for radius in radii)


def unfinished(radii: np.ndarray, what: str) -> list[str]:
    """That at these radii the best ascent had not come to a top; nothing if there are none."""
    if not len(radii):
        return []
    ended = "the best ascent ended on a slope, at a kink or for want of --steps"
    return [f"{what} at rho {_listed(radii)} may be larger: {ended}"]


def multimodal(modes: np.ndarray | None, place: tuple[int, ...]) -> str:
    """That the ascents at this radius found several maxima; "" if they did not."""
    if modes is None or not place or modes[place[0]] != "multimodal":
        return ""
    return "multimodal: the ascents found several maxima, of which this is the highest that was found"
