"""The result of `surface`: columns over a grid, tables and numbers, and remarks on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result
from landscape.analyses.numbers import number
from landscape.fields import array, scalar

if TYPE_CHECKING:
    import numpy as np

CURVATURE_TOLERANCE = 0.2  # relative: the grid is too coarse if the second difference is further from d'Hd
LOWER_TOLERANCE = 1e-3  # relative: a point that is this much below the center is worth a remark
NAMED_MINIMA = 3  # in a remark, the most persistent first
LINES_OF_ONE_PLANE = 2  # lines through the center, which one plane has at most: they show no spread


@dataclass(frozen=True, kw_only=True)
class SurfaceResult(Result):
    """Columns over a grid, and numbers; `beta` exists in two dimensions, `seed` with several planes.

    Coordinates are in units of the directions: the point is theta + alpha d_alpha + beta d_beta.
    """

    tables: ClassVar[tuple[str, ...]] = ("kind", "mark", "level", "seed")
    facts: ClassVar[tuple[str, ...]] = ("centre_loss", "curvature_alpha", "curvature_beta", "barrier", "minima")

    alpha: np.ndarray = array("alpha", help="Coordinate along the first direction; the checkpoint lies at 0.")
    beta: np.ndarray | None = array("beta", help="Coordinate along the second direction.", optional=True)
    seed: np.ndarray | None = array("seed", help="Number of the plane.", optional=True)
    loss: np.ndarray = array("seed", "beta", "alpha", help="Mean loss.")
    accuracy: np.ndarray | None = array("seed", "beta", "alpha", help="Share of correct predictions.", optional=True)
    metric: np.ndarray | None = array("seed", "beta", "alpha", help="Mean of the user's metric.", optional=True)
    status: np.ndarray = array(
        "seed", "beta", "alpha", help="0 interpolated, 1 evaluated, 2 evaluated to NaN, 3 evaluated to infinity."
    )
    error: np.ndarray | None = array(
        "seed",
        "beta",
        "alpha",
        help="Estimated error of an interpolated loss; 0 where it was evaluated.",
        optional=True,
    )
    unaligned_loss: np.ndarray | None = array("alpha", help="The loss on the line without --align.", optional=True)
    kind: np.ndarray | None = array("kind", help="Kind of a tensor: its role in its module.", optional=True)
    kind_treatment: np.ndarray | None = array(
        "kind",
        words=True,
        help="How directions are normalized in tensors of the kind; `ignored` ones are zeroed.",
        optional=True,
        label="directions scaled by",
    )
    kind_tensors: np.ndarray | None = array("kind", help="Number of tensors of the kind.", optional=True)
    kind_parameters: np.ndarray | None = array("kind", help="Parameters in tensors of the kind.", optional=True)
    kind_filters: np.ndarray | None = array(
        "kind",
        help="Parts of these tensors that are scaled, each to its own norm.",
        optional=True,
        label="scaled parts",
    )
    tensor: np.ndarray | None = array("tensor", help="Name of each tensor.", optional=True)
    tensor_kind: np.ndarray | None = array("tensor", words=True, help="Kind of the tensor.", optional=True)
    tensor_treatment: np.ndarray | None = array(
        "tensor", words=True, help="How directions are normalized in the tensor.", optional=True
    )
    tensor_filters: np.ndarray | None = array("tensor", help="Parts of the tensor that are scaled.", optional=True)
    tensor_norm: np.ndarray | None = array("tensor", help="Norm of the tensor.", optional=True)
    mark: np.ndarray | None = array("mark", help="Checkpoint on the line or plane, or near it.", optional=True)
    place_alpha: np.ndarray | None = array(
        "mark", help="Coordinate of the checkpoint, or of its projection, along alpha.", optional=True, label="alpha"
    )
    place_beta: np.ndarray | None = array(
        "mark", help="Coordinate of the checkpoint, or of its projection, along beta.", optional=True, label="beta"
    )
    off_plane: np.ndarray | None = array(
        "mark",
        help="Distance from the plane over distance from the measured checkpoint.",
        optional=True,
        label="distance from the plane",
    )
    own_loss: np.ndarray | None = array(
        "mark", help="Loss of the checkpoint at its own weights.", optional=True, label="loss"
    )
    level: np.ndarray = array("level", help="Level of the loss.")
    basin_width_alpha: np.ndarray = array(
        "level", help="Width of the center's basin along alpha; mean over planes.", label="basin's width along alpha"
    )
    basin_width_alpha_sd: np.ndarray | None = array(
        "level", help="Standard deviation of that width over planes.", optional=True, label="its spread over planes"
    )
    basin_width_beta: np.ndarray | None = array(
        "level",
        help="Width of the center's basin along beta; mean over planes.",
        optional=True,
        label="basin's width along beta",
    )
    basin_width_beta_sd: np.ndarray | None = array(
        "level", help="Standard deviation of that width over planes.", optional=True, label="its spread over planes"
    )
    basin_area: np.ndarray | None = array(
        "level", help="Area of the center's basin; mean over planes.", optional=True, label="basin's area"
    )
    basin_area_sd: np.ndarray | None = array(
        "level", help="Standard deviation of that area over planes.", optional=True, label="its spread over planes"
    )
    basin_open: np.ndarray = array(
        "level", help="Whether the basin leaves the grid, or ends at NaN, in some plane.", label="leaves the grid"
    )
    basin_coarse: np.ndarray = array(
        "level",
        detail=True,
        help="Whether it is narrower than three steps of the grid in some plane.",
        label="too narrow for the grid",
    )
    minimum_loss: np.ndarray = array("minimum", help="Loss of each minimum of the first plane, deepest first.")
    minimum_persistence: np.ndarray = array(
        "minimum", help="Rise of the loss from the minimum to the pass to a deeper one; NaN for the deepest."
    )
    minimum_alpha: np.ndarray = array("minimum", help="Coordinate of each minimum along alpha.")
    minimum_beta: np.ndarray | None = array("minimum", help="Coordinate of each minimum along beta.", optional=True)
    minimum_death: np.ndarray | None = array(
        "minimum", help="Loss at which its basin merges into a deeper one; NaN for the deepest.", optional=True
    )
    minimum_error: np.ndarray | None = array(
        "minimum",
        help="Error of the persistence by rounding and interpolation: the larger one at the minimum and at the pass.",
        optional=True,
    )
    minimum_width_alpha: np.ndarray | None = array(
        "minimum",
        help="Extent along alpha of its basin just below its death; of the deepest, below the lowest loss on the edge.",
        optional=True,
    )
    minimum_width_beta: np.ndarray | None = array("minimum", help="The same along beta.", optional=True)
    minimum_area: np.ndarray | None = array("minimum", help="Area of that basin.", optional=True)
    component_level: np.ndarray | None = array(
        "component", help="Level below which the points of each basin of the first plane lie.", optional=True
    )
    component_loss: np.ndarray | None = array("component", help="Lowest loss in the basin.", optional=True)
    component_depth: np.ndarray | None = array("component", help="Level minus that loss.", optional=True)
    component_error: np.ndarray | None = array(
        "component", help="Error of the depth by rounding and interpolation.", optional=True
    )
    component_width_alpha: np.ndarray | None = array(
        "component", help="Extent of the basin along alpha.", optional=True
    )
    component_width_beta: np.ndarray | None = array("component", help="Extent of the basin along beta.", optional=True)
    component_area: np.ndarray | None = array("component", help="Area of the basin.", optional=True)
    component_open: np.ndarray | None = array(
        "component", help="Whether the basin leaves the grid, or ends at NaN.", optional=True
    )
    curvatures_alpha: np.ndarray | None = array(
        "seed", help="Second difference along alpha by plane.", optional=True, label="curvature along alpha"
    )
    curvatures_beta: np.ndarray | None = array(
        "seed", help="Second difference along beta by plane.", optional=True, label="curvature along beta"
    )
    variations: np.ndarray | None = array(
        "seed", help="Total variation over range by plane.", optional=True, label="total variation / range"
    )
    smads: np.ndarray | None = array("seed", help="SMAD by plane.", optional=True, label="SMAD")
    cosines: np.ndarray | None = array(
        "seed", help="Cosine of the two directions by plane.", optional=True, label="cosine of the axes"
    )
    centre_loss: float = scalar("Loss at the center, as on the grid.", label="loss")
    curvature_alpha: float | None = scalar(
        "Second difference at the center; a mean over planes.", optional=True, label="curvature along alpha"
    )
    curvature_alpha_se: float | None = scalar("Standard error of curvature_alpha over planes.", optional=True)
    curvature_beta: float | None = scalar(
        "Second difference at the center along beta.", optional=True, label="curvature along beta"
    )
    curvature_beta_se: float | None = scalar("Standard error of curvature_beta over planes.", optional=True)
    hessian_alpha: float | None = scalar("d'Hd along alpha, from a product with the Hessian.", optional=True)
    hessian_alpha_se: float | None = scalar("Standard error of hessian_alpha over planes.", optional=True)
    hessian_beta: float | None = scalar("d'Hd along beta, from a product with the Hessian.", optional=True)
    hessian_beta_se: float | None = scalar("Standard error of hessian_beta over planes.", optional=True)
    norm_alpha: float = scalar("Norm of the first direction.")
    norm_beta: float | None = scalar("Norm of the second direction.", optional=True)
    cosine: float | None = scalar("Cosine of the angle between them.", optional=True)
    explained_alpha: float | None = scalar(
        "Share of the trajectory's variance along alpha.", optional=True, percent=True
    )
    explained_beta: float | None = scalar("Share of the trajectory's variance along beta.", optional=True, percent=True)
    barrier: float | None = scalar(
        "Largest rise of the loss above the straight line between both checkpoints' losses.", optional=True
    )
    unaligned_barrier: float | None = scalar("The barrier without --align.", optional=True)
    variation: float = scalar(
        "Total variation over range, mean of the lines through the center: at most 2 in a valley.",
        label="total variation / range",
    )
    roughness_index: float | None = scalar("Standard deviation over mean of total variation.", optional=True)
    lines: int = scalar("Lines through the center.")
    smad: float = scalar(
        "SMAD: mean rise from a minimum to its pass; 0 with one minimum.", label="saddle-minimum distance (SMAD)"
    )
    rounding: float = scalar("The smallest difference of losses near the center that is clearly above rounding.")
    minima: int = scalar("Minima of the first plane that are deeper than rounding.")
    evaluations: int = scalar("Number of evaluated points.")
    points: int = scalar("Points of the grids of all planes.")
    largest_error: float | None = scalar("Largest estimated error of a point, relative to the range.", optional=True)
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def reference_loss(self) -> float:
        """The loss at the center."""
        return self.centre_loss

    def gist(self) -> list[str]:
        """The size of the grid, the range of the finite losses, the loss at the center, and the barrier."""
        import numpy as np

        finite = self.loss[np.isfinite(self.loss)]
        span = f"{number(finite.min())} to {number(finite.max())}" if len(finite) else "nowhere finite"
        barrier = [] if self.barrier is None else [f"barrier {number(self.barrier)}"]
        return [
            f"{' x '.join(map(str, self.loss.shape))} points",
            f"loss {number(self.centre_loss)}, on the grid {span}",
            *barrier,
        ]

    def meaning(self) -> str:
        """Whether there is a barrier between two checkpoints, or a second basin in the grid, if all of it is known."""
        if self.evaluations < self.points or (self.status > 1).any():
            return ""
        if self.barrier is None:
            return "the grid shows one basin: no second minimum is deeper than rounding" if self.minima == 1 else ""
        line = "the straight line between the losses of both checkpoints"
        if self.barrier > self.rounding:
            return f"a barrier: between the checkpoints the loss rises by {self.barrier:.3g} above {line}"
        return f"no barrier: at no point between the checkpoints the loss lies above {line}"

    def remarks(self) -> list[str]:
        """Remarks on points, basins, curvatures and minima that a reader may misread."""
        return [
            *self._point_remarks(),
            *self._basin_remarks(),
            *self._curvature_remarks(),
            *self._rounding_remarks(),
            *self._minimum_remarks(),
            *self._sample_remarks(),
        ]

    def _point_remarks(self) -> list[str]:
        """Remarks on points that are not finite, or not evaluated."""
        sentences = []
        if broken := int((self.status > 1).sum()):
            sentences.append(f"{broken:,} of {self.points:,} points are NaN or infinite; they are left as they are")
        if self.evaluations < self.points:
            share = f"{100 * self.evaluations / self.points:.3g} %"
            largest = f"{100 * (self.largest_error or 0):.2g} % of the range"
            sentences.append(
                f"{share} of the points were evaluated; the others are interpolated, to an estimated {largest}"
            )
        return sentences

    def _basin_remarks(self) -> list[str]:
        """Remarks on levels at which the basin is larger than the grid, or too small for it."""
        sentences = []
        if self.basin_open.any():
            levels = ", ".join(f"{level:.3g}" for level in self.level[self.basin_open])
            sentences.append(f"the basin leaves the grid at level {levels}: its widths there are lower bounds")
        if self.basin_coarse.any():
            levels = ", ".join(f"{level:.3g}" for level in self.level[self.basin_coarse])
            sentences.append(
                f"the basin is narrower than 3 steps of the grid at level {levels}: a smaller --range shows more of it"
            )
        return sentences

    def _curvature_remarks(self) -> list[str]:
        """A remark on axes along which the second difference is not the curvature d'Hd."""
        pairs = {"alpha": (self.curvature_alpha, self.hessian_alpha), "beta": (self.curvature_beta, self.hessian_beta)}
        apart = [
            f"{seen:.4g} along {axis}, and d'Hd {exact:.4g}"
            for axis, (seen, exact) in pairs.items()
            if seen is not None and exact is not None and abs(seen - exact) > CURVATURE_TOLERANCE * abs(exact)
        ]
        if not apart:
            return []
        return [
            f"the second difference is {'; '.join(apart)}: the grid is too coarse for the curvature at the center "
            "(a smaller --range shows it), or the loss has kinks"
        ]

    def _rounding_remarks(self) -> list[str]:
        """A remark on axes along which rounding may decide the second difference."""
        import numpy as np

        differences = {"alpha": (self.alpha, self.curvature_alpha), "beta": (self.beta, self.curvature_beta)}
        small = [
            axis
            for axis, (places, value) in differences.items()
            if places is not None
            and value is not None
            and self.rounding > CURVATURE_TOLERANCE * abs(value) * np.diff(places)[0] ** 2
        ]
        if not small:
            return []
        return [
            f"along {' and '.join(small)} the second difference may be rounding: --dtype float64, or a larger --range"
        ]

    def _minimum_remarks(self) -> list[str]:
        """Remarks if there are several minima, and if some point is clearly lower than the checkpoint."""
        return [*self._barcode_remarks(), *self._lowest_remarks()]

    def _barcode_remarks(self) -> list[str]:
        """A remark that names the most persistent minima, if there are several."""
        import numpy as np

        if self.minimum_error is None or self.minima < 2:
            return []
        known = np.flatnonzero(np.isfinite(self.minimum_persistence))
        order = known[np.argsort(-self.minimum_persistence[known], kind="stable")][:NAMED_MINIMA]
        named = [
            f"{self.minimum_persistence[i]:.3g} ± {self.minimum_error[i]:.1g}{self._at_border(int(i))}" for i in order
        ]
        first = " of plane 0" if self.seed is not None else ""
        depths = f": beside the deepest, basins of depth {', '.join(named)}" if named else ", parted by NaN"
        more = " and shallower ones" if len(known) > len(named) else ""
        return [f"{self.minima} minima{first}{depths}{more} (landscape plot RESULT --barcode)"]

    def _at_border(self, minimum: int) -> str:
        """That a minimum lies on the border of the grid, where the loss may fall further; "" inside of it."""
        axes = [(self.alpha, self.minimum_alpha)]
        if self.beta is not None and self.minimum_beta is not None:
            axes.append((self.beta, self.minimum_beta))
        outside = any(places[minimum] in (axis.min(), axis.max()) for axis, places in axes)
        return " (at the border of the grid, beyond which the loss may fall further)" if outside else ""

    def _lowest_remarks(self) -> list[str]:
        """A remark if some point is clearly lower than the checkpoint."""
        import numpy as np

        losses = np.where(np.isfinite(self.loss), self.loss, np.inf)
        place = np.unravel_index(int(losses.argmin()), losses.shape)
        if not losses[place] < self.centre_loss - LOWER_TOLERANCE * abs(self.centre_loss):
            return []
        where = [f"alpha {self.alpha[place[-1]]:.3g}"]
        where += [f"beta {self.beta[place[-2]]:.3g}"] if self.beta is not None else []
        where += [f"plane {place[0]}"] if self.seed is not None else []
        return [f"the checkpoint is not the lowest point: {losses[place]:.4g} at {', '.join(where)}"]

    def _sample_remarks(self) -> list[str]:
        """A remark if there is only one random direction, or pair of directions."""
        if self.kind is None or self.mark is not None or self.lines > LINES_OF_ONE_PLANE:
            return []
        return ["one random direction, or pair of them, may not be typical: --seeds 5 shows the spread"]
