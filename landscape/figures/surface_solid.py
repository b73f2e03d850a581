"""The first plane of a surface as a solid in three dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.surface_scale import loss_planes, loss_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.surfaces.result import SurfaceResult


def draw_solid(result: SurfaceResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws the first plane as a solid; heights are logarithms where the color scale would be."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    assert result.beta is not None
    losses = loss_planes(result)[0]
    norm = loss_scale([losses])
    flat = axes[0]
    spec, figure = flat.get_subplotspec(), flat.figure
    flat.remove()
    space: Any = figure.add_subplot(spec, projection="3d")
    finite = np.where(np.isfinite(losses), losses, np.nan)
    logarithmic = isinstance(norm, LogNorm)
    heights = np.log10(finite) if logarithmic else finite
    alpha, beta = np.meshgrid(result.alpha, result.beta)
    space.plot_surface(alpha, beta, heights, cmap="viridis", rcount=80, ccount=80, linewidth=0, antialiased=True)
    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.set_major_locator(MaxNLocator(4))
    space.tick_params(labelsize=7, pad=0)
    space.set_xlabel("alpha", fontsize=9, labelpad=2)
    space.set_ylabel("beta", fontsize=9, labelpad=2)
    space.set_zlabel("log10 loss" if logarithmic else "loss", fontsize=9, labelpad=4)
    space.view_init(elev=35, azim=-60)
    space.set_box_aspect(None, zoom=0.78)
    several = f"plane 0 of {len(result.loss)}, " if result.seed is not None else ""
    space.set_title(f"{several}loss from {np.nanmin(finite):.3g} to {np.nanmax(finite):.3g}", fontsize=10)
