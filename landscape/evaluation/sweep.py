"""Loss, accuracy and a metric at many points of a line or plane, at the cost of forward passes.

One working copy of the parameters is overwritten from point to point; the data are joined into the batches, and laid
out in the memory format, that a short trial finds to be fastest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.compute import memory
from landscape.compute.budget import room
from landscape.compute.timing import shortest_seconds
from landscape.compute.vmapping import try_vmap
from landscape.data.batches import Batch
from landscape.errors import TaskError, UsageError
from landscape.evaluation.forward_batches import data_batches, forward_batches
from landscape.evaluation.metrics import metric_total
from landscape.evaluation.points import VECTORIZED_BYTES
from landscape.evaluation.replica_check import tracks_weights
from landscape.losses.predictions import error_counts
from landscape.losses.preflight import require_mean
from landscape.losses.protocol import Loss
from landscape.network.batch_norm import StatisticsInterpolation, recompute_statistics
from landscape.objective import Objective

ROUNDS = 2  # timed passes of each way in a trial, after a warm-up; the fastest counts
CLEARLY = 0.97  # of the best time so far: a way must be faster by more than what timing scatters
FEW = 8  # samples on which a metric is tried
ASIDE = 0.3  # a point where a way must give what the data's own batches give: samples of a batch may depend on others
ALIKE = 1e-4  # relative
TOGETHER = 32  # points at once in a vectorised pass: on CUDA, and for small nets


@dataclass(frozen=True)
class PassSettings:
    """How a pass is made: samples at once (0: as the data come), convolutions channels-last, points at once."""

    samples: int = 0
    channels_last: bool = False
    points: int = 1

    def array(self) -> np.ndarray:
        return np.array([self.samples, self.channels_last, self.points])

    @classmethod
    def from_array(cls, numbers: np.ndarray) -> PassSettings:
        return cls(int(numbers[0]), bool(numbers[1]), int(numbers[2]))

    def __str__(self) -> str:
        words = [f"{self.samples:,} samples at once" if self.samples else "the data's own batches"]
        words += ["channels last"] if self.channels_last else []
        words += [f"{self.points} points vectorised"] if self.points > 1 else []
        return ", ".join(words)


@dataclass(frozen=True)
class Plane:
    """theta + sum of coordinates times directions, one or two of `(P,)`; and what BatchNorm does on it.

    `statistics` are the interpolated ones with the shares of each other model at unit coordinates (directions x
    models), or "recompute", or None for those of the checkpoint.
    """

    directions: tuple[Tensor, ...]
    statistics: tuple[StatisticsInterpolation, np.ndarray] | str | None = None


class Sweep:
    """Evaluates points of planes through an objective's theta; the user's model is never touched.

    Raises UsageError if statistics are to change and the model cannot be copied.
    """

    def __init__(self, objective: Objective, metric: Loss | None = None) -> None:
        self.objective = objective
        self.metric = metric
        self.way = PassSettings()
        self.columns = (
            "loss",
            *(["accuracy"] if objective.loss.structure.has_classes else []),
            *(["metric"] if metric else []),
        )
        self._work = objective.theta.clone()
        copied = objective.replica(self._work)
        self._replica = copied if copied is not None and tracks_weights(copied, self._work) else None
        self._kept: list[Batch] | None = None
        if metric is not None:
            batch = next(iter(objective.first(FEW).batches))

            def total(piece: Batch) -> Tensor:
                return metric_total(metric, objective.batch_output(objective.theta, piece), piece)

            with torch.no_grad():
                require_mean(metric, total, batch, "metric")

    def evaluate(self, plane: Plane, points: Sequence[Sequence[float]]) -> np.ndarray:
        """The columns at each of n points, given by their coordinates: `(n, columns)`, float64."""
        if self.way.points > 1 and plane.statistics is None:
            found = [
                self._together(plane, points[at : at + self.way.points])
                for at in range(0, len(points), self.way.points)
            ]
            sums = torch.cat(found)
        else:
            sums = torch.stack([self._at(plane, point) for point in points])
        return self._means(sums)

    def choose_settings(self, plane: Plane) -> None:
        """Chooses the fastest way by a trial on the plane."""
        aside = [ASIDE] * len(plane.directions)
        expected = self.evaluate(plane, [aside])
        for change in self._changes(plane):
            earlier, changed = self.way, replace(self.way, **change)
            self.use_settings(changed)
            try:
                same = np.allclose(self.evaluate(plane, [aside]), expected, rtol=ALIKE, equal_nan=True)
            except TaskError:  # the model takes its own layout only
                same = False
            # twice, in turn: a machine that others use too may be slow for a moment
            if not (same and all(self._faster(plane, changed, earlier) for _ in range(2))):
                self.use_settings(earlier)

    def _faster(self, plane: Plane, new: PassSettings, old: PassSettings) -> bool:
        """Whether one way is clearly faster than another for a point; leaves the first in use."""
        seconds = []
        for way in (old, new):
            self.use_settings(way)
            points = [[0.0] * len(plane.directions)] * way.points
            seconds.append(shortest_seconds(lambda: self.evaluate(plane, points), ROUNDS) / len(points))  # noqa: B023
        return seconds[1] < CLEARLY * seconds[0]

    def use_settings(self, way: PassSettings) -> None:
        """From now on passes are made so."""
        self.way, self._kept = way, None
        if self._replica is not None:
            for name, parameter in self._replica.model.named_parameters():
                if name in self._spaces:
                    parameter.data = self._spaces[name]

    # -- inside --------------------------------------------------------------------------------------------------

    @cached_property
    def _convolutions(self) -> set[str]:
        """The weights that may lie channels-last."""
        if self._replica is None:
            return set()
        layers = {n: m for n, m in self._replica.model.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)}
        return {f"{name}.weight".removeprefix(".") for name in layers} & set(self.objective.space.names)

    @property
    def _spaces(self) -> dict[str, Tensor]:
        """The places in the working vector by name; those of convolutions in the order of channels-last memory."""
        views = self.objective.space.unflatten(self._work)
        if not self.way.channels_last:
            return views
        return {name: _channels_last(view) if name in self._convolutions else view for name, view in views.items()}

    def _move(self, plane: Plane, point: Sequence[float]) -> None:
        """Puts theta + sum of coordinates times directions into the working copy."""
        if not self.way.channels_last:
            origin = self.objective.theta
            for direction, coordinate in zip(plane.directions, point, strict=True):
                torch.add(origin, direction, alpha=float(coordinate), out=self._work)
                origin = self._work
            return
        origins = self.objective.space.unflatten(self.objective.theta)
        moves = [self.objective.space.unflatten(direction) for direction in plane.directions]
        for name, place in self._spaces.items():
            place.copy_(origins[name])
            for move, coordinate in zip(moves, point, strict=True):
                place.add_(move[name], alpha=float(coordinate))

    def _at(self, plane: Plane, point: Sequence[float]) -> Tensor:
        """The sums over all data at one point; running out of memory takes fewer samples at once and goes on."""
        with torch.no_grad():
            self._move(plane, point)
            if plane.statistics is not None:
                self._normalise(plane.statistics, point)
            while True:
                try:
                    return sum(
                        (self._sums(self._output(piece), piece) for piece in self._data()), start=torch.zeros(())
                    )
                except RuntimeError as error:
                    if not memory.is_out_of_memory(error):
                        raise
                self._shrink()

    def _together(self, plane: Plane, points: Sequence[Sequence[float]]) -> Tensor:
        """The sums at several points in one vectorised pass, `(n, sums)`; one by one if the model does not allow it."""

        def sums(row: Tensor, piece: Batch) -> Tensor:
            return self._sums(self.objective.batch_output(row, piece), piece)

        rows = self.objective.theta.expand(len(points), -1)
        for axis, direction in enumerate(plane.directions):
            steps = torch.tensor([point[axis] for point in points], dtype=rows.dtype, device=rows.device)
            rows = torch.addcmul(rows, steps[:, None], direction)
        try:
            with torch.no_grad():
                parts = [try_vmap(lambda row, piece=piece: sums(row, piece), rows) for piece in self._data()]
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            parts = [None]
        if any(part is None for part in parts):
            self.use_settings(replace(self.way, points=1))
            return torch.stack([self._at(plane, point) for point in points])
        return sum(part for part in parts if part is not None)  # type: ignore[return-value]

    def _output(self, piece: Batch) -> Any:
        if self._replica is not None:
            return self._replica.output(piece)
        return self.objective.batch_output(self._work, piece)

    def _sums(self, output: Any, piece: Batch) -> Tensor:
        """Sums and counts of one piece: the loss; what is wrong, of how many; the metric, of how many."""
        found = [self.objective.loss_total(output, piece).double()]
        if "accuracy" in self.columns:
            known = error_counts(self.objective.loss, output, piece.targets)
            found += [part.double() for part in known] if known else [torch.full_like(found[0], torch.nan)] * 2
        if self.metric is not None:
            found.append(metric_total(self.metric, output, piece))
            found.append(torch.full_like(found[0], float(self.metric.count(piece.targets))))
        return torch.stack(found)

    def _means(self, sums: Tensor) -> np.ndarray:
        numbers = sums.cpu().numpy()
        means = [numbers[:, 0] / self.objective.count]
        if "accuracy" in self.columns:  # a prediction from NaN is none
            right = 1 - numbers[:, 1] / np.maximum(numbers[:, 2], 1)
            means.append(np.where(np.isnan(numbers[:, 0]), np.nan, right))
        if self.metric is not None:
            means.append(numbers[:, -2] / numbers[:, -1])
        return np.stack(means, axis=1)

    def _normalise(self, kind: tuple[StatisticsInterpolation, np.ndarray] | str, point: Sequence[float]) -> None:
        """Puts the running statistics of this point into the copy."""
        if self._replica is None:
            raise UsageError(
                "the model cannot be copied, so that its statistics cannot change", fix="--batch-norm fixed"
            )
        model = self._replica.model
        if isinstance(kind, str):
            recompute_statistics(model, lambda: (self._output(batch) for batch in data_batches(self.objective)))
            return
        between, shares = kind
        places = dict(model.named_buffers())
        for name, values in between.at((np.asarray(point) @ shares).tolist()).items():
            places[name].copy_(values)

    def _data(self) -> Iterable[Batch]:
        """The data in pieces of so many samples; in memory if they are kept there."""
        samples, layout = self.way.samples, self.way.channels_last
        if self._kept is None and self.objective.batches.kept:
            self._kept = list(forward_batches(self.objective, samples, channels_last=layout))
        return forward_batches(self.objective, 0, channels_last=layout) if self._kept is None else self._kept

    def _changes(self, plane: Plane) -> Iterator[dict[str, Any]]:
        """What a trial changes in turn, keeping what is faster."""
        if self._convolutions:
            yield {"channels_last": True}
        samples, own = self.objective.batches.samples, self.objective.largest_micro_batch
        most = room("micro-batch", self.objective.device) // max(self.objective.activation_bytes, 1)
        sizes = {size for size in (own // 4, own // 2, 2 * own, 4 * own, samples) if 0 < size <= min(most, samples)}
        if self.objective.batches.whole is not None:
            yield from ({"samples": size} for size in sorted(sizes - {own}))
        each = 4 * self.objective.theta.nbytes + self.objective.activation_bytes * (self.way.samples or own)
        cuda = self.objective.device.type == "cuda"
        most = room("micro-batch", self.objective.device) if cuda else VECTORIZED_BYTES
        if plane.statistics is None and TOGETHER * each <= most:
            yield {"points": TOGETHER}

    def _shrink(self) -> None:
        """Takes half as many samples at once; raises TaskError if that is less than one."""
        now = self.way.samples or self.objective.micro_batch
        if now == 1:
            raise TaskError("one sample alone does not fit into memory", fix="--device cpu")
        if self.objective.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.way.samples:
            self.use_settings(replace(self.way, samples=now // 2))
        else:
            self.objective.micro_batch, self._kept = now // 2, None


def _channels_last(place: Tensor) -> Tensor:
    """The same piece of memory as a tensor of the same shape whose channels lie innermost."""
    outputs, inputs, height, width = place.shape
    return place.reshape(-1).view(outputs, height, width, inputs).permute(0, 3, 1, 2)
