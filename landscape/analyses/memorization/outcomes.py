"""The outcomes of every population at a series of points of parameter space, one progress step for each point."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING

from landscape.analyses.base import Progress, State
from landscape.errors import NumericalError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.evaluation.per_sample.outcomes import SampleOutcomes
    from landscape.objective import Objective

Points = Mapping[str, "Callable[[], Tensor]"]  # a theta by name, made when it is needed
Found = dict[str, dict[str, "SampleOutcomes"]]  # outcomes by point and population


def tried(
    populations: Mapping[str, Objective],
    points: Points,
    saved: State,
    *,
    note: str,
    enough: Callable[[Found], bool] = lambda found: False,
) -> Generator[Progress, None, Found]:
    """The outcomes at each point; stops early once they are `enough`."""
    from landscape.evaluation.per_sample.outcomes import sample_outcomes

    kept: dict[str, np.ndarray] = dict(saved)
    found: Found = {}
    for done, (point, theta) in enumerate(points.items(), start=1):
        fresh = not all(f"{point}/{name}" in kept for name in populations)
        if fresh:
            at = theta()
            for name, objective in populations.items():
                kept[f"{point}/{name}"] = _stacked(sample_outcomes(objective, at))
        found[point] = {name: _outcomes(kept[f"{point}/{name}"]) for name in populations}
        if done == 1:
            _require_finite(found[point])
        if fresh:
            yield Progress(done, len(points), f"{note}, {point}", lambda now=dict(kept): now)  # type: ignore[misc]
        if enough(found):
            break
    return found


def _require_finite(found: Mapping[str, SampleOutcomes]) -> None:
    """Raises NumericalError for a population whose loss is none before anything was changed."""
    bad = [f"{name} ({one.loss})" for name, one in found.items() if not math.isfinite(one.loss)]
    if bad:
        raise NumericalError(
            f"the loss of a population is not finite: {', '.join(bad)}", fix="look for bad samples in it"
        )


def _stacked(found: SampleOutcomes) -> np.ndarray:
    import torch

    return torch.stack([found.losses, found.counts, found.right]).cpu().numpy()


def _outcomes(rows: np.ndarray) -> SampleOutcomes:
    import torch

    from landscape.evaluation.per_sample.outcomes import SampleOutcomes

    return SampleOutcomes(*torch.from_numpy(rows))
