"""The first plane of a surface as a solid in three dimensions, with its contours on the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import COLOR_MAP
from landscape.figures.surface_contours import contour_levels
from landscape.figures.surface_scale import loss_planes, loss_scale
from landscape.figures.texts import font_size, set_heading

if TYPE_CHECKING:
    from landscape.analyses.surfaces.result import SurfaceResult
    from landscape.figures.look import Look

VIEW = (-60.0, 30.0)  # azimuth and elevation in degrees
FLOOR = 0.45  # of the height of the solid: how far below it the floor with the contours lies
BOX = (4.0, 4.0, 2.7)  # relative sides
LABELS = 1.1  # the box with its labels, relative to the box
MOST_TICKS = 4  # on an axis
ROWS = 80  # of the drawn solid


def draw_solid(result: SurfaceResult, space: Any, look: Look) -> None:
    """Draws the first plane as a solid on axes in three dimensions; heights are logarithmic where colors would be."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    assert result.beta is not None
    losses = loss_planes(result)[0]
    norm = loss_scale([losses], look.range)
    logarithmic = isinstance(norm, LogNorm)
    ends = np.array([norm.vmin, norm.vmax], float)
    finite = np.where(np.isfinite(losses), losses, np.nan)
    low, high = np.log10(ends) if logarithmic else ends
    heights = np.clip(finite, *ends)
    heights = np.log10(heights) if logarithmic else heights
    alpha, beta = np.meshgrid(result.alpha, result.beta)
    colors: dict[str, Any] = {"cmap": COLOR_MAP, "vmin": low, "vmax": high}
    space.plot_surface(
        alpha, beta, heights, rcount=ROWS, ccount=ROWS, linewidth=0, antialiased=False, rasterized=True, **colors
    )
    floor = low - FLOOR * (high - low)
    levels = contour_levels(losses, norm, look)
    if len(levels) and np.isfinite(losses).any():
        levels = np.log10(levels) if logarithmic else levels
        space.contour(alpha, beta, heights, levels=levels, zdir="z", offset=floor, linewidths=1.0, **colors)
    space.set(xlim=result.alpha[[0, -1]], ylim=result.beta[[0, -1]], zlim=(floor, high))
    for axis in (space.xaxis, space.yaxis):
        axis.set_major_locator(MaxNLocator(MOST_TICKS, prune="both"))  # those at the corners would overprint
    ticks = _log_ticks(*ends) if logarithmic else MaxNLocator(MOST_TICKS).tick_values(low, high)
    shown = [tick for tick in ticks if ends[0] <= tick <= ends[1]]
    space.set_zticks(np.log10(shown) if logarithmic else shown, [f"{tick:.3g}" for tick in shown])
    space.tick_params(labelsize=font_size("small"), pad=0)
    space.set_xlabel("alpha", labelpad=2)
    space.set_ylabel("beta", labelpad=2)
    space.set_zlabel("loss", labelpad=4)
    azimuth, elevation = look.view or VIEW
    space.view_init(elev=elevation, azim=azimuth)
    fill_frame(space)
    several = f"plane 0 of {len(result.loss)}, " if result.seed is not None else ""
    known = f"loss from {np.nanmin(finite):.3g} to {np.nanmax(finite):.3g}" if np.isfinite(finite).any() else "no loss"
    set_heading(space, several + known)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round losses for the ticks of a logarithmic axis: powers of ten, or more of them within few decades."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    step = -(-len(decades) // MOST_TICKS)
    powers = [10.0**decade for decade in decades[::step] if low <= 10.0**decade <= high]
    between = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return powers if len(powers) > 1 else [tick for tick in between if low <= tick <= high]


def fill_frame(space: Any) -> None:
    """Sets the distance of the eye so that the box with its labels fills the frame from any side."""
    from mpl_toolkits.mplot3d import proj3d

    space.set_box_aspect(BOX, zoom=1)
    ends = [space.get_xlim(), space.get_ylim(), space.get_zlim()]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
    x, y, _ = proj3d.proj_transform(*corners, space.get_proj())
    frame = space.viewLim
    width, height = np.ptp(x) / frame.width, np.ptp(y) / frame.height
    space.set_box_aspect(BOX, zoom=1 / (LABELS * max(width, height)))
