"""The trace from products with random vectors: Hutchinson, Hutch++ and XTrace, from one set of products.

Probes z are uniform on the sphere of radius sqrt(P), so that E[z z'] = I. Some are *sketched*: their images A z are
orthonormalised into Q (rows here), and A Q is known too. The others are multiplied after Q has been projected out.

Hutchinson: the mean of z'A z over sketched probes, or over the others if there is no sketch. Hutch++ (Meyer et al.
2021): tr(Q'AQ) plus the mean over the others of u'A u with u = (I - QQ')z. XTrace (Epperly, Tropp and Webber 2024,
section 2.1): the same with each sketched probe in turn left out of Q and used as such an other one. All are unbiased.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from landscape import seeds
from landscape.algorithms.lanczos.basis import norm, orthogonalize, require_finite, rounding_floor
from landscape.algorithms.snapshots import RECOMPUTED, buffer, restore
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator

TraceMethod = Literal["auto", "hutchinson", "hutch++", "xtrace"]
CONFIDENCE = 0.95
PROBES_PER_PASS = 8  # columns that share a pass over the data
PRIOR = (0.5, 0.25)  # the decay p of the spread that is assumed at first, and how much: a doubling of s weighs 0.24
# XTrace's values share their images. The ratio of the true error to that of independent values, over 18 designed
# spectra and sizes, was 1.03 to 1.47
DEPENDENT = 2**0.5
MIN_VALUES = {"hutchinson": 10, "hutch++": 10, "xtrace": 16}  # values from which a standard error is believed


@dataclass(frozen=True)
class TraceGoal:
    """Which estimators may be used, the half-width asked for relative to the trace, and a limit on products."""

    method: TraceMethod
    rtol: float
    max_products: int
    capacity: int  # sketched probes that fit into memory
    fewest_others: int = 0  # probes outside the sketch at least: the blocks' traces need them


@dataclass(frozen=True)
class TraceState:
    """What is known after some products: s sketched probes, r <= s rows of Q, m others, g groups of parameters.

    The rows of `basis` and `probes` beyond r and s are not part of the state.
    """

    basis: Tensor = field(metadata=buffer("rank"))  # (capacity, P), Q as rows
    probes: Tensor = field(metadata=RECOMPUTED)  # (capacity, P), the sketched probes as rows
    quadratics: np.ndarray  # (s,), z'A z
    overlaps: np.ndarray  # (r, s), Q'z
    images: np.ndarray  # (r, s), Q'A z
    projected: np.ndarray  # (r, r), Q'A Q
    block_sketch: np.ndarray  # (g,), tr over each group of QQ'A + AQQ'
    values: np.ndarray  # (m,), estimates of the whole trace by others
    block_values: np.ndarray  # (m, g), what they find of each group's trace beyond the sketch
    diagonal: np.ndarray  # (g + 1,), the sum of exact diagonal entries by group, and of all
    columns: int  # how many of them are summed
    scale: float  # the largest ||A q|| seen
    products: int
    history: np.ndarray  # (rounds, 2), s and the spread of XTrace's values after each round of sketching

    @property
    def rank(self) -> int:
        return len(self.projected)

    @property
    def sketched(self) -> int:
        return len(self.quadratics)

    @property
    def captured(self) -> bool:
        """Whether Q holds all of the matrix' range: its trace is then that of Q'AQ."""
        return self.rank < self.sketched or 0 < self.rank == self.basis.shape[1]


def restore_trace(arrays: Mapping[str, np.ndarray], like: Tensor, seed: int) -> TraceState:
    """The state that `snapshot` stored; its sketched probes are drawn again from the seed."""
    capacity, size = (int(length) for length in arrays["basis.shape"])
    probes = torch.empty((capacity, size), dtype=like.dtype, device=like.device)
    for index in range(len(arrays["quadratics"])):
        probes[index] = trace_probe(size, like, seed, "sketched", index)
    return restore(TraceState, arrays, like, probes=probes)


@dataclass(frozen=True)
class TraceEstimate:
    """One estimator's estimate: its values' mean, standard error, 95 % half-width, and the products behind it."""

    estimator: str
    value: float
    error: float
    half_width: float
    products: int
    enough: bool  # whether there are enough values to believe the standard error
    draws: np.ndarray  # (n,), whose mean the value is: one for each random vector; none of an exact trace

    def products_for(self, half_width: float) -> float:
        """Products until that half-width, if the error falls as the root of the products."""
        return self.products * (self.half_width / half_width) ** 2 if half_width else float("inf")


def estimate_trace(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    goal: TraceGoal,
    *,
    seed: int = 0,
    resume: TraceState | None = None,
) -> Iterator[TraceState]:
    """States after each pass of at most 8 products, until `trace_finished(state, goal)`."""
    state = resume or _begin(operator, groups, goal)
    while (move := _next(state, goal)) is not None:
        state = move(operator, groups, state, seed, goal.max_products - state.products)
        yield state


def trace_finished(state: TraceState, goal: TraceGoal) -> bool:
    """Whether nothing is left to do: the goal is reached, or the limit on products."""
    return _next(state, goal) is None


def goal_reached(state: TraceState, goal: TraceGoal) -> bool:
    """Whether the chosen estimator's half-width is as small as was asked for, with enough values behind it."""
    chosen = preferred_estimate(state, goal)
    asked = chosen is not None and (goal.method == "auto" or chosen.estimator in ("exact", goal.method))
    return chosen is not None and asked and chosen.enough and chosen.half_width <= goal.rtol * abs(chosen.value)


def preferred_estimate(state: TraceState, goal: TraceGoal) -> TraceEstimate | None:
    """The reading that counts: the exact one, else the asked for, else that of the step that came last, else any.

    Not the one with the smallest half-width: what is chosen for a lucky error is too sure of itself.
    """
    found = {reading.estimator: reading for reading in trace_estimates(state)}
    asked = ("hutch++", "xtrace", "hutchinson") if goal.method == "auto" else (goal.method,)
    every = [found[name] for name in ("exact", *asked, "xtrace", "hutchinson") if name in found]
    return next((reading for reading in every if reading.enough), every[0] if every else None)


def trace_estimates(state: TraceState) -> list[TraceEstimate]:
    """What each estimator says of the products so far."""
    found = []
    size = state.basis.shape[1]
    if state.columns == size or state.captured:
        whole = state.diagonal[-1] if state.columns == size else np.trace(state.projected)
        found.append(TraceEstimate("exact", float(whole), 0.0, 0.0, state.products, True, np.zeros(0)))
    plain = state.quadratics if state.sketched else state.values
    found += _reading("hutchinson", plain, len(plain))
    if state.sketched and not state.captured:
        found += _reading("xtrace", xtrace_values(state), 2 * state.sketched)
    if state.sketched and not state.captured:
        found += _reading("hutch++", state.values, 2 * state.sketched + len(state.values))
    return found


def block_traces(state: TraceState, groups: Sequence[ParameterGroup]) -> tuple[np.ndarray, np.ndarray]:
    """The trace of each group's diagonal block and its standard error, `(g,)` both."""
    if state.columns == state.basis.shape[1]:
        return state.diagonal[:-1], np.zeros(len(groups))
    rows, projected = state.basis[: state.rank], torch.from_numpy(state.projected)
    twice = np.zeros(len(groups))  # tr over each group of QQ'AQQ', which `block_sketch` holds twice
    for index, group in enumerate(groups):
        gram = sum(piece.double() @ piece.double().T for piece in group.of(rows))
        twice[index] = float((gram.cpu() * projected).sum()) if state.rank else 0.0  # type: ignore[union-attr]
    sketch = state.block_sketch - twice
    if state.captured:
        return sketch, np.zeros(len(groups))
    count = len(state.block_values)
    error = state.block_values.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full(len(groups), np.nan)
    mean = state.block_values.mean(axis=0) if count else np.full(len(groups), np.nan)
    return sketch + mean, error


def xtrace_values(state: TraceState) -> np.ndarray:
    """XTrace's estimates `(s,)`, each leaving one sketched probe out (equation 2.8, with the normalisation of 2.12)."""
    overlaps, images, projected = state.overlaps, state.images, state.projected
    count, size = state.sketched, state.basis.shape[1]
    left_out = np.linalg.solve(images.T, np.eye(count))  # column i is orthogonal to all images but the i-th
    left_out /= np.linalg.norm(left_out, axis=0)
    inside = overlaps - left_out * (left_out * overlaps).sum(axis=0)
    curved = state.quadratics - 2 * (inside * images).sum(axis=0) + (inside * (projected @ inside)).sum(axis=0)
    rest = (size - count + 1) / (size - (inside**2).sum(axis=0)) * curved
    kept = np.trace(projected) - (left_out * (projected @ left_out)).sum(axis=0)
    values: np.ndarray = kept + rest
    return values


def trace_probe(size: int, like: Tensor, seed: int, *path: str | int) -> Tensor:
    """A random vector `(P,)`, uniform on the sphere of radius sqrt(P)."""
    vector = seeds.normal(size, like, seed, "trace", *path)
    return vector.mul_(size**0.5 / norm(vector))


# -- what to do next -----------------------------------------------------------------------------------------------


def _next(state: TraceState, goal: TraceGoal) -> Any:
    """The next step: sketch, probe, or sum the diagonal itself; None at the end."""
    size = state.basis.shape[1]
    if state.columns:
        return None if state.columns == size or state.products >= goal.max_products else _sum_diagonal
    lacking = not state.captured and len(state.values) < goal.fewest_others
    if state.captured or (goal_reached(state, goal) and not lacking):
        return None
    room = state.sketched + PROBES_PER_PASS <= len(state.basis)
    left = goal.max_products - state.products
    if left <= 0 or (goal.method == "xtrace" and (not room or (left < 2 and state.products))):
        return None
    if left < 2:  # one product is too little for a sketch
        return _probe
    if not state.products and goal.method == "auto" and size <= min(2 * MIN_VALUES["xtrace"], left):
        return _sum_diagonal  # no estimate takes fewer products
    reserved = max(goal.fewest_others, MIN_VALUES["hutch++"] if goal.method == "hutch++" else 0)
    if state.sketched and len(state.values) < reserved and left < 2 * PROBES_PER_PASS + reserved:
        return _probe
    if lacking and goal_reached(state, goal):
        return _probe
    if (
        not len(state.values)
        and goal.method != "hutchinson"
        and len(state.history) < MIN_VALUES["xtrace"] // PROBES_PER_PASS
    ):
        return _sketch
    if len(state.values) == 0 and goal.method == "hutchinson":
        return _probe
    move, ahead = _cheapest(state, goal)
    exact_fits = state.products + size <= goal.max_products
    return _sum_diagonal if ahead > size and exact_fits else move


def _cheapest(state: TraceState, goal: TraceGoal) -> tuple[Any, float]:
    """The step that leads to the goal in the fewest products, and how many they are.

    m others reach the half-width w when m = (t spread / w)^2. They leave the spread as it is; sketching lowers it as
    s^-p. XTrace is there when m(s) = s, for 2 s products; Hutch++ takes 2 s + m(s), least at s^(2p + 1) = p m s^2p.
    """
    known = state.values if len(state.values) else state.quadratics
    value = next(r.value for r in reversed(trace_estimates(state))) if len(known) > 1 else 0.0
    width = goal.rtol * abs(value) or np.finfo(float).tiny
    quantile = student.ppf((1 + CONFIDENCE) / 2, 30)
    if len(state.values):
        return _probe, max((quantile * state.values.std(ddof=1) / width) ** 2 - len(state.values), 1.0)
    count, spread = state.history[-1]
    others = (quantile * spread / width) ** 2
    power = _decay(state.history)
    constant = others * count ** (2 * power)
    xtrace = 2 * max((DEPENDENT**2 * constant) ** (1 / (2 * power + 1)) - count, 0.0)
    optimum = max((power * constant) ** (1 / (2 * power + 1)), count)
    hutchpp = 2 * (optimum - count) + constant / optimum ** (2 * power)
    if goal.method == "xtrace":
        return _sketch, xtrace
    if state.sketched + PROBES_PER_PASS > len(state.basis):
        return _probe, others
    at_optimum = optimum - count < PROBES_PER_PASS / 2
    if at_optimum and (goal.method == "hutch++" or hutchpp < xtrace):
        return _probe, hutchpp
    return _sketch, hutchpp if goal.method == "hutch++" else min(xtrace, hutchpp)


def _decay(history: np.ndarray) -> float:
    """p of spread ~ s^-p, by least squares over the rounds so far, drawn towards a prior while they are few."""
    if not (history[:, 1] > 0).all():
        return PRIOR[0]
    place = np.log(history[:, 0]) - np.log(history[:, 0]).mean()
    slope = (PRIOR[0] * PRIOR[1] - place @ np.log(history[:, 1])) / (PRIOR[1] + place @ place)
    return float(np.clip(slope, 0.0, 4.0))


def _reading(name: str, values: np.ndarray, products: int) -> list[TraceEstimate]:
    count = len(values)
    if count < 2:
        return []
    error = float(values.std(ddof=1) / np.sqrt(count)) * (DEPENDENT if name == "xtrace" else 1.0)
    half = float(student.ppf((1 + CONFIDENCE) / 2, count - 1) * error)
    return [TraceEstimate(name, float(values.mean()), error, half, products, count >= MIN_VALUES[name], values)]


# -- the steps -----------------------------------------------------------------------------------------------------


def _begin(operator: LinearOperator, groups: Sequence[ParameterGroup], goal: TraceGoal) -> TraceState:
    like, shape = operator.like, (0 if goal.method == "hutchinson" else goal.capacity, operator.size)
    basis, probes = (torch.empty(shape, dtype=like.dtype, device=like.device) for _ in range(2))
    none, square, count = np.zeros(0), np.zeros((0, 0)), len(groups)
    return TraceState(
        basis, probes, none, square, square, square, np.zeros(count), none, np.zeros((0, count)),
        np.zeros(count + 1), 0, 0.0, 0, np.zeros((0, 2)),
    )  # fmt: skip


def _sketch(
    operator: LinearOperator, groups: Sequence[ParameterGroup], state: TraceState, seed: int, left: int
) -> TraceState:
    """Eight more probes, or as many as may be, are multiplied, their images join Q, and the new rows are multiplied."""
    first, rank = state.sketched, state.rank
    count = max(1, min(PROBES_PER_PASS, len(state.basis) - first, operator.size - rank, left // 2))
    for index in range(first, first + count):
        state.probes[index] = trace_probe(operator.size, operator.like, seed, "sketched", index)
    fresh = state.probes[first : first + count]
    image = _finite(operator.matmat(fresh.T)).T
    scale = max(state.scale, float(torch.linalg.vector_norm(image, dim=1).max()) / operator.size**0.5)
    least = rounding_floor(image.dtype, scale * operator.size**0.5)
    for one in image.clone():
        orthogonalize(one[None], state.basis[:rank])
        length = norm(one)
        if length > least:  # else the image lies in Q: the range is captured
            state.basis[rank] = one / length
            rank += 1
    added = state.basis[state.rank : rank]
    product = _finite(operator.matmat(added.T)).T if len(added) else added
    rows, every = state.basis[:rank], state.probes[: first + count]
    projected = np.zeros((rank, rank))
    projected[: state.rank, : state.rank] = state.projected
    projected[:, state.rank :] = _dot(rows, product)
    projected[state.rank :, : state.rank] = projected[: state.rank, state.rank :].T
    projected = (projected + projected.T) / 2
    images = np.zeros((rank, first + count))
    images[: state.rank, :first] = state.images  # the images of earlier probes lie in the earlier rows
    images[:, first:] = _dot(rows, image)
    sketch = [
        float(2 * sum((a.double() * b).sum() for a, b in zip(g.of(added), g.of(product), strict=True))) for g in groups
    ]
    after = replace(
        state,
        quadratics=np.concatenate([state.quadratics, (fresh.double() * image).sum(dim=1).cpu().numpy()]),
        overlaps=np.concatenate([np.hstack([state.overlaps, _dot(rows[: state.rank], fresh)]), _dot(added, every)]),
        images=images,
        projected=projected,
        block_sketch=state.block_sketch + np.array(sketch),
        scale=scale,
        products=state.products + count + len(added),
    )
    if after.captured:
        return after
    spread = xtrace_values(after).std(ddof=1) if after.sketched > 1 else 0.0
    return replace(after, history=np.concatenate([state.history, [[after.sketched, spread]]]))


def _probe(
    operator: LinearOperator, groups: Sequence[ParameterGroup], state: TraceState, seed: int, left: int
) -> TraceState:
    """Eight more probes, or as many as may be, are multiplied after Q has been projected out of them."""
    rows, size = state.basis[: state.rank], operator.size
    first, count = len(state.values), min(PROBES_PER_PASS, left)
    whole = torch.stack([trace_probe(size, operator.like, seed, "other", first + index) for index in range(count)])
    rest = _without(whole, rows)
    image = _finite(operator.matmat(rest.T)).T.contiguous()
    curved = (rest.double() * image).sum(dim=1)
    lengths = (rest.double() ** 2).sum(dim=1)
    values = np.trace(state.projected) + ((size - state.rank) * curved / lengths).cpu().numpy()
    image = _without(image, rows)
    blocks = [sum((a.double() * b).sum(dim=1) for a, b in zip(g.of(whole), g.of(image), strict=True)) for g in groups]
    found = torch.stack(blocks, dim=1).cpu().numpy() if groups else np.zeros((count, 0))  # type: ignore[arg-type]
    return replace(
        state,
        values=np.concatenate([state.values, values]),
        block_values=np.concatenate([state.block_values, found]),
        products=state.products + count,
    )


def _sum_diagonal(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    state: TraceState,
    seed: int,  # noqa: ARG001
    left: int,
) -> TraceState:
    """The next eight entries of the diagonal itself: where P is small this takes fewer products than any estimate."""
    first = state.columns
    count = min(PROBES_PER_PASS, operator.size - first, left)
    unit = torch.zeros((operator.size, count), dtype=operator.like.dtype, device=operator.like.device)
    unit[torch.arange(first, first + count), torch.arange(count)] = 1
    entries = _finite(operator.matmat(unit)).diagonal(-first).double().cpu().numpy()[:count]
    diagonal = state.diagonal.copy()
    diagonal[-1] += entries.sum()
    for index, group in enumerate(groups):
        for begin, end in group.ranges:
            diagonal[index] += entries[max(begin - first, 0) : max(end - first, 0)].sum()
    return replace(state, diagonal=diagonal, columns=first + count, products=state.products + count)


def _without(vectors: Tensor, rows: Tensor) -> Tensor:
    """The vectors, as rows, less their parts along the orthonormal rows; twice is enough."""
    for _ in range(2):
        vectors = vectors - (vectors @ rows.T) @ rows
    return vectors


def _dot(left: Tensor, right: Tensor) -> np.ndarray:
    return (left @ right.T).double().cpu().numpy()


def _finite(image: Tensor) -> Tensor:
    require_finite(norm(image.reshape(-1)))
    return image
