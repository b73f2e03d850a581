"""The phase that sharpness and flatness share: local maxima over balls of growing radius, on every part of the data."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Progress, State
from landscape.analyses.shared.per_layer import layer_table
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.errors import NumericalError, TaskError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.algorithms.ascent.ascent import AscentState, Evaluate
    from landscape.algorithms.lanczos.state import LanczosState
    from landscape.choices import Norm
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

COUNTERS = ("part", "radius", "evaluations")
TENSORS = ("vectors", "best")
SPARE_ROWS = 6  # of two for each start, which the basis of the eigenvectors leaves to its own products
HIT = 0.01  # relative: a start that comes so near to the best one has found the same maximum


@dataclass(frozen=True)
class BallObjective:
    """A function of u on one part of the data: its value and slope `(P,)` at the centre, and how it is evaluated."""

    base: float
    slope: Tensor
    evaluate: Evaluate
    together: int


@dataclass(frozen=True)
class BallSearch:
    """What is searched: ascending radii of a ball, from how many starts, with how many evaluations each."""

    norm: Norm
    radii: tuple[float, ...]
    starts: int
    steps: int
    samples: int | None  # of each part of the data; None: all of it is one part
    seed: int

    @property
    def columns(self) -> int:
        """Starts, and one more where the best point of the smaller radius is gone on from."""
        return self.starts + (self.starts > 1 and len(self.radii) > 1)


@dataclass(frozen=True)
class BallMaxima:
    """What was found on B parts of the data, at R radii, from S starts; NaN where nothing was measured."""

    weights: np.ndarray  # (B,), what each part counts
    duals: np.ndarray  # (B,), dual norm of the slope at the centre
    curvatures: np.ndarray  # (B,), leading eigenvalue of the scaled Hessian, roughly
    rises: np.ndarray  # (B, R, S), value above the centre's
    stationarity: np.ndarray  # (B, R, S)
    one_step: np.ndarray  # (B, R), the first start's rise before it climbs: the estimate of SAM, or of GAM
    shares: np.ndarray  # (B, G), of each group in slope times move at the best point of the largest radius
    evaluations: int

    def largest(self) -> np.ndarray:
        """The largest rise `(B, R)`; the centre itself is in the ball, so that it is at least 0."""
        import numpy as np

        known = np.where(np.isnan(self.rises) & ~self.broken()[..., None], -np.inf, self.rises)
        best: np.ndarray = np.maximum(known.max(axis=2), 0.0)
        return best

    def broken(self) -> np.ndarray:
        """Where a point of the ball has a value that is no number, `(B, R)`."""
        import numpy as np

        return (np.isnan(self.rises) & ~np.isnan(self.stationarity)).any(axis=2)  # type: ignore[no-any-return]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over parts `(B, ...)`, each by what it counts."""
        import numpy as np

        average: np.ndarray = np.tensordot(self.weights / self.weights.sum(), values, axes=1)
        return average

    def hits(self) -> np.ndarray:
        """Starts within 1 % of the best `(R,)`; the fewest of any part."""
        best = self.largest()[..., None]
        fewest: np.ndarray = (self.rises >= (1 - HIT) * best).sum(axis=2).min(axis=0)
        return fewest

    def count_starts(self) -> np.ndarray:
        """How many starts there were, `(R,)`."""
        import numpy as np

        count: np.ndarray = (~np.isnan(self.stationarity[0])).sum(axis=1)
        return count

    def spread(self) -> np.ndarray:
        """(largest - smallest) / largest over the starts, `(R,)`; the mean over parts."""
        import numpy as np

        best = self.largest()
        with np.errstate(divide="ignore", invalid="ignore"):
            lowest = np.where(np.isnan(self.rises), np.inf, self.rises).min(axis=2)
            apart = np.where(best > 0, (best - lowest) / best, 0.0)
        return self.mean(apart)

    def best_stationarity(self) -> np.ndarray:
        """1 - <u, z> / (rho ||z||*) of the best start, `(R,)`; the worst of any part."""
        import numpy as np

        place = np.nan_to_num(self.rises, nan=-np.inf).argmax(axis=2)[..., None]
        worst: np.ndarray = np.take_along_axis(self.stationarity, place, axis=2)[..., 0].max(axis=0)
        return worst

    def modes(self) -> np.ndarray:
        """`unique` where every start has found the same maximum on every part, else `multimodal`, `(R,)`.

        A single start cannot tell.
        """
        import numpy as np

        count = self.count_starts()
        return np.where(count == 1, "one start", np.where(self.hits() == count, "unique", "multimodal"))


@dataclass
class Record:
    """What is known so far, filled in place; `part` and `radius` are the present ones."""

    found: dict[str, np.ndarray]
    part: int = 0
    radius: int = 0
    vectors: Tensor | None = None  # of the present part, once known
    best: Tensor | None = None  # of the present part's last radius
    search: LanczosState | None = None  # for its eigenvectors, until they are known
    ascent: AscentState | None = None
    evaluations: int = 0

    def arrays(self) -> State:
        import numpy as np

        tensors = {name: getattr(self, name) for name in TENSORS}
        return {
            **{name: values.copy() for name, values in self.found.items()},
            **{name: np.asarray(getattr(self, name)) for name in COUNTERS},
            **{name: tensor.cpu().numpy().copy() for name, tensor in tensors.items() if tensor is not None},
            **(prefix_state("search", self.search.arrays()) if self.search else {}),
            **(prefix_state("ascent", self.ascent.arrays()) if self.ascent else {}),
        }

    @classmethod
    def of(cls, search: BallSearch, parts: int, groups: int, like: Tensor, saved: State) -> Record:
        """An empty one, or what `arrays()` gave."""
        import numpy as np
        import torch

        from landscape.algorithms.ascent.ascent import AscentState
        from landscape.algorithms.lanczos.state import LanczosState

        shape = (parts, len(search.radii), search.columns)
        shapes: Mapping[str, tuple[int, ...]] = {
            **dict.fromkeys(("weights", "duals", "curvatures"), (parts,)),
            **dict.fromkeys(("rises", "stationarity"), shape),
            "one_step": shape[:2],
            "shares": (parts, groups),
        }
        if not saved:
            return cls({name: np.full(size, np.nan) for name, size in shapes.items()})
        record = cls({name: np.array(saved[name]) for name in shapes})
        for name in COUNTERS:
            setattr(record, name, int(saved[name]))
        for name in TENSORS:
            setattr(record, name, torch.from_numpy(saved[name]).to(like) if name in saved else None)
        found, ascent = phase_state("search", saved), phase_state("ascent", saved)
        record.search = LanczosState.from_arrays(found, like) if found else None
        record.ascent = AscentState.from_arrays(ascent, like) if ascent else None
        return record


def maximize_in_balls(
    objective: Objective,
    scale: Tensor,
    hill: Callable[[Objective], BallObjective],
    search: BallSearch,
    groups: Sequence[ParameterGroup],
    resume: State,
) -> Generator[Progress, None, BallMaxima]:
    """Yields after each product for the eigenvectors of a part and after each round of its ascents."""
    import numpy as np

    from landscape.algorithms.ascent import starts

    size = search.samples or objective.batches.samples
    parts = -(-objective.batches.samples // size)
    record = Record.of(search, parts, len(groups), objective.theta, resume)
    for index, part in enumerate(objective.parts(size) if search.samples else [objective]):
        if index < record.part:
            continue
        if part.count == 0:  # every target of it is ignored
            record.found["weights"][index], record.part = 0.0, index + 1
            continue
        here = hill(part)
        if record.vectors is None:
            record.found["weights"][index] = part.count
            yield from _prepare(record, part, scale, search, here, parts)
        while record.radius < len(search.radii):
            yield from _ascents(record, scale, search, here, parts)
            if record.radius == len(search.radii) - 1:
                record.found["shares"][index] = _shares(here, record.best, groups)
            record.radius += 1
        record.part, record.radius, record.vectors, record.best = index + 1, 0, None, None
    counted = record.found["weights"] > 0
    blind = int(np.isnan(record.found["curvatures"][counted]).sum()) if starts.eigenvector_count(search.starts) else 0
    if blind:
        where = f" on {blind} of {parts} batches" if parts > 1 else ""
        objective.notes.append(f"random starts take the place of eigenvectors{where}: second derivatives fail there")
    return BallMaxima(**{n: values[counted] for n, values in record.found.items()}, evaluations=record.evaluations)


def _prepare(
    record: Record, part: Objective, scale: Tensor, search: BallSearch, here: BallObjective, parts: int
) -> Generator[Progress, None, None]:
    """The slope at the centre, and the leading eigenvectors that the starts need."""
    import torch

    from landscape.algorithms.ascent import starts
    from landscape.algorithms.ascent.ball import Ball
    from landscape.operators import HessianOperator, ScaledOperator

    record.found["duals"][record.part] = float(Ball(search.norm, 1.0).dual(here.slope))
    vectors = torch.zeros((0, len(scale)), dtype=scale.dtype, device=scale.device)
    count = starts.eigenvector_count(search.starts)
    operator = ScaledOperator(HessianOperator(part), scale)
    rows = 2 * search.starts - SPARE_ROWS
    with suppress(TaskError, NumericalError):  # random starts then take their place
        for now in starts.eigenvector_search(operator, count, search.seed, rows, record.search) if count else ():
            record.search = now
            yield _progress(record, search, parts)
        if record.search is not None:
            vectors, values = starts.leading_eigenvectors(record.search, count)
            record.found["curvatures"][record.part] = values[0]
    record.vectors, record.search = vectors, None


def _ascents(
    record: Record, scale: Tensor, search: BallSearch, here: BallObjective, parts: int
) -> Generator[Progress, None, None]:
    import numpy as np
    import torch

    from landscape.algorithms.ascent import ascent, starts
    from landscape.algorithms.ascent.ball import Ball

    assert record.vectors is not None
    ball = Ball(search.norm, search.radii[record.radius])
    begin = starts.start_points(search.starts, ball, here.slope, record.vectors, scale > 0, search.seed)
    if record.best is not None and search.starts > 1:
        begin = torch.cat([begin, record.best[None]])  # so that no radius finds less than a smaller one
    running = ascent.ascend(
        here.evaluate, ball, begin, here.base, steps=search.steps, together=here.together, resume=record.ascent
    )
    for now in running:
        record.ascent = now
        if now.rounds == 1:
            record.found["one_step"][record.part, record.radius] = now.values[0] - here.base
        yield _progress(record, search, parts)
    state = record.ascent
    assert state is not None  # steps >= 1
    place = (record.part, record.radius, slice(len(state.values)))
    record.found["rises"][place] = state.values - here.base
    record.found["stationarity"][place] = np.where(np.isnan(state.stationarity), 1.0, state.stationarity)
    record.evaluations += state.evaluations
    record.best, record.ascent = state.points[_best(state.values)].clone(), None


def _best(values: np.ndarray) -> int:
    import numpy as np

    return int(np.nan_to_num(values, nan=-np.inf).argmax())


def _shares(here: BallObjective, best: Tensor | None, groups: Sequence[ParameterGroup]) -> np.ndarray:
    """The share of each group in <slope, u> at the point u."""
    import numpy as np

    if not groups:
        return np.zeros(0)
    assert best is not None
    _, slopes = here.evaluate(best[None])
    product = slopes[0].double() * best
    sums = np.array([float(sum(piece.sum() for piece in group.of(product))) for group in groups])
    return sums / sums.sum() if sums.sum() else sums


def _progress(record: Record, search: BallSearch, parts: int) -> Progress:
    done = record.part * len(search.radii) + record.radius
    rounds = record.ascent.rounds if record.ascent else 0
    total = parts * len(search.radii) * search.steps
    note = f"radius {search.radii[min(record.radius, len(search.radii) - 1)]:g}"
    if parts > 1:
        note = f"part {record.part + 1} of {parts}, {note}"
    if record.search:
        note += f", eigenvectors of the starts, {record.search.products} products"
    if record.ascent:
        note += f", {len(record.ascent.values)} starts, step {rounds}"
    return Progress(min(done * search.steps + rounds, total), total, note, record.arrays)


def ascent_columns(found: BallMaxima, groups: Sequence[ParameterGroup]) -> dict[str, Any]:
    """What both results tell of their ascents, and the shares of the layers if any are asked for."""
    import numpy as np

    from landscape.algorithms.ascent import starts

    share = found.mean(found.shares)
    return {
        "starts": found.count_starts(),
        "hits": found.hits(),
        "spread": found.spread(),
        "stationarity": found.best_stationarity(),
        "mode": found.modes(),
        "start": np.array((*starts.start_names(int(found.count_starts()[0])), "smaller rho"), dtype=str)[
            : found.rises.shape[2]
        ],
        "start_rises": found.mean(found.rises),
        **(layer_table(groups, share, {"share": share}) if groups else {}),
    }
