"""Pictures in files: PNG, PDF and SVG that carry the fingerprint of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import UsageError
from landscape.figures import history, overlay, surface
from landscape.figures.canvas import NONE, as_svg, entitle, make_large_parts_images
from landscape.figures.layout import dots_per_inch, new_figure, set_footnotes, to_bytes
from landscape.figures.look import Context, Look
from landscape.figures.registry import draw_panels, require_panels
from landscape.figures.style_sheets import settings
from landscape.history import History
from landscape.session.titles import measurement_title
from landscape.storage import paths
from landscape.storage.atomic_files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.surfaces.result import SurfaceResult

FORMATS = paths.PICTURES
DrawAll = Callable[[Sequence["Axes"]], None]


def save(
    result: Any,
    path: str | Path,
    *,
    heading: str | None = None,
    fingerprint: str | None = None,
    beside: Mapping[str, Any] = NONE,
    **look: Any,
) -> None:
    """Draws a result into a file of PNG, PDF or SVG, by the ending of its name; an earlier one is replaced atomically.

    The file carries the fingerprint of the run, by default that of the result's attributes, and a title unless
    `title=""`: by default the `heading`, which says what was measured. `beside` and the look are those of `draw`.
    Fonts are embedded in PDF, and text stays text in SVG. With a `width` in centimeters PNG has 300 dots an inch.

    Raises UsageError for a result without a picture, for a look that does not apply, and for another ending, and
    OutputError if the file cannot be written.

    >>> import landscape
    >>> from landscape import figures
    >>> result = landscape.run(landscape.Trace(), landscape.load("digits-mlp.pt", limit=100))
    >>> figures.save(result, "trace.pdf", width=8.4, title="")
    """
    context = Context(beside, Look(**look))
    panels = require_panels(result, context)

    named = _heading_of(result) if heading is None else heading
    mark = str(result.attributes.get("fingerprint", "")) if fingerprint is None else fingerprint
    _save(Path(path), list(panels), partial(draw_panels, panels), context.look, named, mark)


def _heading_of(result: Any) -> str:
    """The title that a result has by itself: what was measured of which checkpoint."""
    if isinstance(result, History):
        return f"track {result.run}"
    attributes = result.attributes
    return measurement_title(attributes["analysis"], attributes) if "checkpoint" in attributes else ""


def save_surfaces(
    results: Sequence[SurfaceResult],
    path: Path,
    *,
    names: Sequence[str],
    fingerprint: str,
    caveats: Sequence[str] = (),
    **look: Any,
) -> None:
    """Draws several surfaces side by side on one color scale, or several lines into one panel, and caveats below."""
    chosen = Look(**look)
    panels = ["lines"] if results[0].beta is None else [f"plane-{number}" for number in range(len(results))]
    _save(
        path, panels, lambda axes: surface.draw_together(results, names, axes, chosen), chosen, "", fingerprint, caveats
    )


def save_histories(
    histories: Sequence[History], path: Path, *, labels: Sequence[str], caveats: Sequence[str] = (), **look: Any
) -> None:
    """Draws several runs over each other; raises UsageError if there is nothing that all of them have."""
    chosen = Look(**look)
    names = [name for name, _ in history.together(histories)]
    if not names:
        raise UsageError("the runs have nothing in common that can be drawn", fix="the same measurements of each")
    fingerprint = " ".join(one.fingerprint for one in histories)
    _save(path, names, lambda axes: history.draw_runs(histories, labels, axes), chosen, "", fingerprint, caveats)


def save_overlay(
    results: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    labels: Sequence[str],
    fingerprint: str,
    caveats: Sequence[str] = (),
) -> None:
    """Draws what several checkpoints all have into one picture: a panel for each analysis, or lines and planes.

    Below them stand the `caveats`, sentences that a reader must know. `results` are by the names of their analyses.
    Raises UsageError if there is nothing that all of them have.
    """
    names, draw_all = _overlay_panels(results, labels)
    if not names:
        raise UsageError(
            "the results have nothing in common that can be drawn", fix=f"one of {', '.join(overlay.DRAWN)} of each"
        )
    _save(path, names, draw_all, Look(), "", fingerprint, caveats)


def overlay_drawing(
    results: Sequence[Mapping[str, Any]], labels: Sequence[str], *, page: Mapping[str, Any]
) -> bytes | None:
    """What several checkpoints all have as SVG, as `save_overlay` draws it; None if there is nothing."""
    names, draw_all = _overlay_panels(results, labels)
    return as_svg(names, draw_all, page) if names else None


def _overlay_panels(results: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> tuple[list[str], DrawAll]:
    """The panels of what all checkpoints have, and how they are drawn."""
    names = overlay.overlaid(results)
    surfaces = [one["surface"] for one in results if "surface" in one]
    alike = len(surfaces) == len(results) and len({one.beta is None for one in surfaces}) == 1
    planes = (1 if surfaces[0].beta is None else len(surfaces)) if alike else 0

    def draw_all(axes: Sequence[Axes]) -> None:
        """Draws the panels."""
        for name, one in zip(names, axes, strict=False):
            overlay.draw_overlay(name, dict(zip(labels, (each[name] for each in results), strict=True)), one)
        if planes:
            surface.draw_together(surfaces, labels, axes[len(names) :], Look())

    return [*names, *(f"plane-{number}" for number in range(planes))], draw_all


def _save(
    path: Path,
    names: Sequence[str],
    draw_all: DrawAll,
    look: Look,
    heading: str,
    fingerprint: str,
    caveats: Sequence[str] = (),
) -> None:
    """Draws panels, and caveats below them, into a file that carries the fingerprint."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{path} is no picture that can be drawn", fix=f"a name that ends in {', '.join(FORMATS)}")
    note = {"Subject" if path.suffix == ".pdf" else "Description": f"{paths.PICTURE_MARK}{fingerprint}"}
    with settings(look):
        figure, axes = new_figure(names, look)
        draw_all(axes)
        entitle(axes, look, heading)
        set_footnotes(figure, caveats)
        if path.suffix != ".png":
            make_large_parts_images(figure)
        image = to_bytes(figure, path.suffix[1:], dots_per_inch(look), note)
    replace_file(path, image)
