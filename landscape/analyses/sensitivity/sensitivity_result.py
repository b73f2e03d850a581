"""The result of `sensitivity`: forecast and real change by layer and kind of change, together, and the bits chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.numbers import with_error
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.meaning import describe_share, stored_options
from landscape.errors import listing
from landscape.fields import Gauge, array, scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

SURE_ERRORS = 2.0  # standard errors that part the most sensitive layer from the next one
YES, NO, UNCLEAR = "yes", "no", "unclear"  # whether the second-order forecast holds
DOUBTFUL_RANKS = 0.9  # Spearman's correlation below which a remark says that the forecast ranks layers otherwise
FEWEST_RANKED = 3  # layers: the correlation of two ranks is 1 or -1 whatever they are


@dataclass(frozen=True, kw_only=True)
class SensitivityResult(Result):
    """Changes of the mean loss by layer and kind of change, with errors by the choice of samples."""

    tables: ClassVar[tuple[str, ...]] = ("change", "kind", "layer")
    facts: ClassVar[tuple[str, ...]] = ("allocation_bits", "loss", "cost_gradients")

    change: np.ndarray = array("change", words=True, help="A layer and what changes its weights.")
    change_layer: np.ndarray = array("change", words=True, detail=True, help="The layer.")
    change_kind: np.ndarray = array("change", words=True, detail=True, help="The kind of change.")
    change_parameters: np.ndarray = array("change", detail=True, help="Weights of the layer that may change.")
    change_norm: np.ndarray = array(
        "change", detail=True, help="Norm of the change d of the weights.", label="norm of the change"
    )
    change_slope: np.ndarray = array(
        "change", detail=True, help="g'd, with g the gradient of the mean loss.", label="g'd"
    )
    change_curvature: np.ndarray = array(
        "change", detail=True, help="d'Hd, with H the Hessian, or --operator.", label="d'Hd"
    )
    change_real: np.ndarray = array(
        "change",
        help="Change of the mean loss at theta + d.",
        gauge=Gauge("change_real_se", by_samples=True),
        label="change of the loss",
    )
    change_real_se: np.ndarray = array("change", detail=True, help="Its standard error by the samples.")
    change_forecast: np.ndarray = array(
        "change", help="g'd + d'Hd / 2.", gauge=Gauge("change_forecast_se", by_samples=True)
    )
    change_forecast_se: np.ndarray = array("change", detail=True, help="Its standard error by groups of samples.")
    change_gap: np.ndarray = array(
        "change",
        detail=True,
        help="Real change minus forecast.",
        gauge=Gauge("change_gap_se", by_samples=True),
        label="change - forecast",
    )
    change_gap_se: np.ndarray = array(
        "change", detail=True, help="Its standard error by groups of samples, which are the same in both."
    )
    change_holds: np.ndarray = array(
        "change",
        words=True,
        help="Whether the forecast holds: yes; no, beyond its errors; unclear within them.",
        label="forecast holds",
    )
    change_rank: np.ndarray = array(
        "change", help="Rank of the layer by real change, the largest first.", label="rank of the layer"
    )
    change_forecast_rank: np.ndarray = array("change", detail=True, help="Rank of the layer by forecast.")
    kind: np.ndarray = array("kind", words=True, help="A change of all layers.")
    kind_real: np.ndarray = array(
        "kind",
        help="Change of the mean loss if all layers change.",
        gauge=Gauge("kind_real_se", by_samples=True),
        label="change of the loss",
    )
    kind_real_se: np.ndarray = array("kind", detail=True, help="Its standard error by the samples.")
    kind_forecast: np.ndarray = array(
        "kind", help="g'd + d'Hd / 2 of that joint change.", gauge=Gauge("kind_forecast_se", by_samples=True)
    )
    kind_forecast_se: np.ndarray = array("kind", detail=True, help="Its standard error by groups of samples.")
    kind_sum: np.ndarray = array(
        "kind",
        help="Sum of the layers' real changes.",
        gauge=Gauge("kind_sum_se", by_samples=True),
        label="sum over layers",
    )
    kind_sum_se: np.ndarray = array("kind", detail=True, help="Its standard error by groups of samples.")
    kind_spearman: np.ndarray = array(
        "kind",
        help="Spearman's correlation of the layers' forecasts with their real changes.",
        gauge=Gauge("kind_spearman_se", by_samples=True),
        label="rank correlation",
    )
    kind_spearman_se: np.ndarray = array("kind", detail=True, help="Its spread over resampled groups of samples.")
    kind_holds: np.ndarray = array(
        "kind", help="Share of the layers whose forecast holds.", percent=True, label="layers whose forecast holds"
    )
    layer: np.ndarray | None = array("layer", words=True, help="A layer, with --budget.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its weights.", optional=True)
    layer_bits: np.ndarray | None = array("layer", help="Bits for each of them.", optional=True)
    allocation_bits: float | None = scalar(
        "Mean bits for a weight with the bits chosen by layer.", optional=True, label="bits by layer, mean"
    )
    allocation_expected: float | None = scalar(
        "Sum of the layers' changes with these bits, which was made smallest.", optional=True
    )
    allocation_change: float | None = scalar(
        "Real change of the mean loss with these bits.",
        optional=True,
        gauge=Gauge("allocation_change_se", by_samples=True),
    )
    allocation_change_se: float | None = scalar("Its standard error by the samples.", optional=True)
    uniform_bits: int | None = scalar("Bits of the uniform allocation beside it.", optional=True)
    uniform_change: float | None = scalar(
        "Real change of the mean loss with that.",
        optional=True,
        gauge=Gauge("uniform_change_se", by_samples=True),
    )
    uniform_change_se: float | None = scalar("Its standard error by the samples.", optional=True)
    allocation_gain: float | None = scalar(
        "Loss with the uniform bits minus loss with those chosen.",
        optional=True,
        gauge=Gauge("allocation_gain_se", by_samples=True),
    )
    allocation_gain_se: float | None = scalar("Its standard error by the same samples.", optional=True)
    layers: int = scalar("Layers whose weights change.")
    changed_parameters: int = scalar("Weights that may change.")
    products: int = scalar("Columns that were multiplied by the matrix, or by its blocks, over the full data.")
    cost_gradients: float | None = cost_scalar()
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def inconclusive(self) -> Trouble | None:
        """That changes of the loss, or forecasts, are not finite."""
        import numpy as np

        finite = np.isfinite(self.change_real) & np.isfinite(self.change_forecast)
        joint = np.isfinite(self.kind_real) & np.isfinite(self.kind_forecast)
        broken = [*self.change[~finite], *(f"all layers {name}" for name in self.kind[~joint])]
        if not broken and (self.allocation_change is None or math.isfinite(self.allocation_change)):
            return None
        why = f"not finite: {listing(map(str, broken))}" if broken else "not finite: the loss with the chosen bits"
        return Trouble(why, "--dtype float64, more --bits, or a smaller share to --prune", "not finite")

    def gist(self) -> list[str]:
        """By how much each kind of change raises the loss, if all layers change."""
        pairs = zip(self.kind, self.kind_real, self.kind_real_se, strict=True)
        return [f"{kind}: change {with_error(float(change), float(error))}" for kind, change, error in pairs]

    def meaning(self) -> str:
        """The layer that the first change harms most, if it is apart from the next one beyond their errors."""
        rows = (self.change_kind == self.kind[0]).nonzero()[0]
        if len(rows) < 2:
            return ""
        first, second = rows[self.change_real[rows].argsort()[::-1][:2]]
        gap = float(self.change_real[first] - self.change_real[second])
        rise = float(self.change_real[first])
        if not gap > SURE_ERRORS * math.hypot(self.change_real_se[first], self.change_real_se[second]) or not rise > 0:
            return ""
        return (
            f"{self.kind[0]}: {self.change_layer[first]} is the most sensitive layer, which raises the loss by "
            f"{rise:.2g}{describe_share(rise, self.loss)}"
        )

    def remarks(self) -> list[str]:
        """Where forecasts do not hold, where they rank layers otherwise, and what the chosen bits bring."""
        every = (self._about_forecasts(), self._about_joint_changes(), self._about_ranks(), self._about_allocation())
        return [sentence for sentences in every for sentence in sentences]

    def _about_forecasts(self) -> list[str]:
        """A sentence for each kind of change whose forecasts do not all hold."""
        found = []
        for name in self.kind:
            words = self.change_holds[self.change_kind == name]
            counts = {word: int((words == word).sum()) for word in (NO, UNCLEAR)}
            said = [f"fails for {counts[NO]}", f"is unclear for {counts[UNCLEAR]}"]
            parts = [text for text, count in zip(said, counts.values(), strict=True) if count]
            if parts:
                found.append(f"{name}: the second-order forecast {' and '.join(parts)} of {len(words)} layers")
        return found

    def _about_joint_changes(self) -> list[str]:
        """A sentence for each kind whose forecast does not hold for all layers together: what a model would ship with.

        The errors of both count as if they were independent, which makes their difference rather less certain.
        """
        tolerance, found = float(stored_options(self).get("tolerance", 0.2)), []
        for name, *numbers in zip(
            self.kind, self.kind_real, self.kind_real_se, self.kind_forecast, self.kind_forecast_se, strict=True
        ):
            real, real_error, forecast, forecast_error = map(float, numbers)
            gap = abs(real - forecast)
            if gap <= tolerance * max(abs(real), abs(forecast)):
                continue
            sure = gap > SURE_ERRORS * math.hypot(real_error, forecast_error)
            found.append(
                f"{name}: all layers together change the loss by {with_error(real, real_error)}, the forecast is "
                f"{forecast:.2g}, which {'does not hold' if sure else 'may not hold'}"
            )
        return found

    def _about_ranks(self) -> list[str]:
        """Kinds of changes whose forecasts rank the layers otherwise than their real changes."""
        if self.layers < FEWEST_RANKED:
            return [f"{_count_layers(self.layers)}: ranks of layers have no correlation"]
        low = [str(n) for n, value in zip(self.kind, self.kind_spearman, strict=True) if not value >= DOUBTFUL_RANKS]
        return [f"{_and(low)}: rank layers by the real changes, the forecast ranks them otherwise"] if low else []

    def _about_allocation(self) -> list[str]:
        """The loss with the chosen bits beside that with uniform ones."""
        if self.allocation_bits is None or self.allocation_gain is None or self.allocation_gain_se is None:
            return []
        gain, error = self.allocation_gain, self.allocation_gain_se
        known = f"{gain:.3g} +- {error:.2g}" if error else f"{gain:.3g}"
        sure = "" if abs(gain) > 2 * error else ", which is within its error"
        difference = f"the difference is {known}{sure}" if gain or error else "there is no difference in any sample"
        return [
            f"bits by layer, {self.allocation_bits:.4g} on average: the loss changes by {self.allocation_change:.4g} "
            f"(the layers' sum is {self.allocation_expected:.4g}), with {self.uniform_bits} bits everywhere by "
            f"{self.uniform_change:.4g}; {difference}"
        ]


def _count_layers(layers: int) -> str:
    return "one layer" if layers == 1 else f"{layers} layers"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
