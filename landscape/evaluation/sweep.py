"""Loss, accuracy and a metric at many points of a line or plane, at the cost of forward passes.

One working copy of the parameters is overwritten from point to point. A short trial finds the batches and the memory
layout with which a pass is fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.compute.vmapping import try_vmap
from landscape.data.batches import Batch
from landscape.evaluation.forward_batches import forward_batches
from landscape.evaluation.metrics import metric_total
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.settings_trial import use_fastest_settings
from landscape.evaluation.working_copy import Statistics, WorkingCopy
from landscape.losses.predictions import error_counts
from landscape.losses.preflight import require_mean
from landscape.losses.protocol import Loss
from landscape.objective import Objective

METRIC_SAMPLES = 8  # on which a metric is tried: enough for uneven parts, few enough for any memory


@dataclass(frozen=True)
class Plane:
    """The points theta + sum of coordinates times directions, with one or two directions `(P,)`.

    `statistics` are BatchNorm's on the plane; None for those of the checkpoint everywhere.
    """

    directions: tuple[Tensor, ...]
    statistics: Statistics | None = None


class Sweep:
    """Evaluates points of planes through an objective's theta; the user's model is never touched.

    Raises TaskError for a metric that fails or is no mean over samples, and UsageError if BatchNorm's statistics are to
    change and the model cannot be copied.
    """

    def __init__(self, objective: Objective, metric: Loss | None = None) -> None:
        self.objective = objective
        self.metric = metric
        self.settings = PassSettings()
        self.columns = (
            "loss",
            *(["accuracy"] if objective.loss.structure.has_classes else []),
            *(["metric"] if metric else []),
        )
        self.copy = WorkingCopy(objective)
        self._summed = objective  # the objective, or the same for sums that this process makes alone
        self._batches: list[Batch] | None = None  # on the device in the layout of the settings
        if metric is not None:
            batch = next(iter(objective.first(METRIC_SAMPLES).batches))

            def total(piece: Batch) -> Tensor:
                """The metric's total over a piece of the batch."""
                return metric_total(metric, objective.batch_output(objective.theta, piece), piece)

            with torch.no_grad():
                require_mean(metric, total, batch)

    def evaluate(self, plane: Plane, points: Sequence[Sequence[float]]) -> np.ndarray:
        """The columns at each of n points, given by their coordinates: `(n, columns)`, float64.

        At least as many points as ranks are dealt out to these, each of which passes all data; of fewer the data are.
        """
        ranks = self.objective.ranks
        if len(points) < ranks.size or ranks.size == 1:
            return self._evaluate(plane, points)
        self._summed = self.objective.alone()
        try:
            mine = ranks.together(lambda: self._evaluate(plane, ranks.share(points)))
        finally:
            self._summed = self.objective
        rows = np.empty((len(points), len(self.columns)))
        for rank, theirs in enumerate(ranks.gather(mine, "points of a surface")):
            rows[rank :: ranks.size] = theirs
        return rows

    def _evaluate(self, plane: Plane, points: Sequence[Sequence[float]]) -> np.ndarray:
        """The columns at each of the points, which this rank shares with no other, or the data of which it shares."""
        each = self.settings.points
        if each > 1 and plane.statistics is None:
            sums = torch.cat([self._sums_together(plane, points[at : at + each]) for at in range(0, len(points), each)])
        else:
            sums = torch.stack([self._sums_at(plane, point) for point in points])
        return self._means(sums)

    def choose_settings(self, plane: Plane) -> None:
        """Uses the fastest settings that a trial on the plane finds."""
        if not self.objective.ranks.launched:  # which do not see one clock, and whose bits follow the choice
            use_fastest_settings(self, plane)

    def use_settings(self, settings: PassSettings) -> None:
        """Makes all further passes with these settings."""
        self.settings, self._batches = settings, None
        self.copy.use_layout(channels_last=settings.channels_last)

    def _sums_at(self, plane: Plane, point: Sequence[float]) -> Tensor:
        """The sums over all data at one point; running out of memory halves the samples in a batch."""
        with torch.no_grad():
            self.copy.move_to(plane.directions, point)
            if plane.statistics is not None:
                self.copy.use_statistics(plane.statistics, point)
            return self._over_data(lambda batch: self._sums(*self.copy.output_and_total(batch), batch))

    def _over_data(self, kernel: Callable[[Batch], Tensor]) -> Tensor:
        """The sum of a kernel over all data, in batches of the settings."""
        return self._summed.accumulate(kernel, self._data(), self._shrink)

    def _sums_together(self, plane: Plane, points: Sequence[Sequence[float]]) -> Tensor:
        """The sums at several points in one vectorized pass, `(n, sums)`; one by one if the model does not allow it."""

        def kernel(batch: Batch) -> Tensor:
            """The sums of one batch at all points, `(n, sums)`."""
            try:
                sums = try_vmap(lambda row: self._sums(*self.objective.output_and_total(row, batch), batch), rows)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                sums = None
            if sums is None:
                raise _NotTogetherError
            return sums

        rows = self.objective.theta.expand(len(points), -1)
        for axis, direction in enumerate(plane.directions):
            steps = torch.tensor([point[axis] for point in points], dtype=rows.dtype, device=rows.device)
            rows = torch.addcmul(rows, steps[:, None], direction)
        try:
            with torch.no_grad():
                return self._over_data(kernel)
        except _NotTogetherError:
            self.use_settings(replace(self.settings, points=1))
            return torch.stack([self._sums_at(plane, point) for point in points])

    def _sums(self, output: Any, total: Tensor, batch: Batch) -> Tensor:
        """Sums and counts of one batch: the loss; wrong predictions, and their number; the metric, and its count."""
        sums = [total.double()]
        if "accuracy" in self.columns:
            errors = error_counts(self.objective.loss, output, batch.targets)
            sums += [part.double() for part in errors] if errors else [torch.full_like(sums[0], torch.nan)] * 2
        if self.metric is not None:
            sums.append(metric_total(self.metric, output, batch))
            sums.append(torch.full_like(sums[0], float(self.metric.count(batch.targets))))
        return torch.stack(sums)

    def _means(self, sums: Tensor) -> np.ndarray:
        numbers = sums.cpu().numpy()
        means = [numbers[:, 0] / self.objective.count]
        if "accuracy" in self.columns:  # NaN logits predict nothing
            right = 1 - numbers[:, 1] / np.maximum(numbers[:, 2], 1)
            means.append(np.where(np.isnan(numbers[:, 0]), np.nan, right))
        if self.metric is not None:
            means.append(numbers[:, -2] / numbers[:, -1])
        return np.stack(means, axis=1)

    def _data(self) -> Iterable[Batch]:
        """The data in batches of the settings; they stay on the device if the objective's data do."""
        samples, channels_last = self.settings.samples, self.settings.channels_last
        if self._batches is None and self.objective.batches.kept:
            self._batches = list(forward_batches(self.objective, samples, channels_last=channels_last))
        if self._batches is None:
            return forward_batches(self.objective, 0, channels_last=channels_last)
        return self._batches

    def _shrink(self, samples: int) -> None:
        """Takes so many samples at once from the next pass on, since memory ran out."""
        if self.settings.samples:
            self.use_settings(replace(self.settings, samples=samples))
        else:
            self.objective.micro_batch, self._batches = samples, None


class _NotTogetherError(Exception):
    """The model does not allow several points in one pass, or they do not fit into memory."""
