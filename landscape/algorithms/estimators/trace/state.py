"""A run of the trace estimators as a value: its goal, and the products so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.snapshots import RECOMPUTED, buffer, restore
from landscape.compute.inner_products import norm
from landscape.compute.shards import length_here, whole_length

TraceMethod = Literal["auto", "hutchinson", "hutch++", "xtrace", "ggn+hutchinson"]
WITHOUT_SKETCH: tuple[TraceMethod, ...] = ("hutchinson", "ggn+hutchinson")


@dataclass(frozen=True)
class TraceGoal:
    """The estimators to use, the half-width wanted relative to the trace, and a limit on products.

    `ggn+hutchinson` is Hutchinson's estimator of a matrix from which a part with a known trace was taken.
    """

    method: TraceMethod
    rtol: float
    max_products: int
    capacity: int  # sketched probes that fit into memory
    min_others: int = 0  # least number of probes outside the sketch: the traces of blocks need them
    width: int = 8  # probes outside the sketch that share a pass over the data


@dataclass(frozen=True)
class TraceState:
    """The products so far: s sketched probes, r <= s rows of Q, m other probes, g groups of parameters.

    The rows of `basis` and `probes` beyond r and s are not part of the state.
    """

    basis: Tensor = field(metadata=buffer("rank"))  # (capacity, P), Q as rows
    probes: Tensor = field(metadata=RECOMPUTED)  # (capacity, P), the sketched probes as rows
    quadratics: np.ndarray  # (s,), z'A z
    overlaps: np.ndarray  # (r, s), Q'z
    images: np.ndarray  # (r, s), Q'A z
    projected: np.ndarray  # (r, r), Q'A Q
    block_sketch: np.ndarray  # (g,), tr over each group of QQ'A + AQQ'
    values: np.ndarray  # (m,), the other probes' estimates of the whole trace
    block_values: np.ndarray  # (m, g), the other probes' estimates of each group's trace outside the sketch
    diagonal: np.ndarray  # (g + 1,), the sum of exact diagonal entries by group, and of all groups
    columns: int  # exact diagonal entries summed so far
    scale: float  # the largest ||A q|| seen
    products: int
    history: np.ndarray  # (rounds, 2), s and the spread of XTrace's values after each round of sketching
    width: int  # probes outside the sketch that share a pass, in this run
    is_rest: bool  # whether the operator leaves out a part of the matrix, whose trace is known
    known: float  # that trace

    @property
    def rank(self) -> int:
        """r, the rows of Q."""
        return len(self.projected)

    @property
    def sketched(self) -> int:
        """s, the sketched probes."""
        return len(self.quadratics)

    @property
    def captured(self) -> bool:
        """Whether Q spans the range of the matrix: its trace is then that of Q'AQ."""
        return self.rank < self.sketched or 0 < self.rank == self.size

    @property
    def size(self) -> int:
        """P, also where vectors are in parts."""
        return whole_length(self.basis.shape[1])


def initial_state(like: Tensor, size: int, groups: int, goal: TraceGoal) -> TraceState:
    """The state before the first product, with room for the sketch that the goal allows."""
    shape = (0 if goal.method in WITHOUT_SKETCH else goal.capacity, length_here(size))
    basis, probes = (torch.empty(shape, dtype=like.dtype, device=like.device) for _ in range(2))
    none, square = np.zeros(0), np.zeros((0, 0))
    return TraceState(
        basis=basis,
        probes=probes,
        quadratics=none,
        overlaps=square,
        images=square,
        projected=square,
        block_sketch=np.zeros(groups),
        values=none,
        block_values=np.zeros((0, groups)),
        diagonal=np.zeros(groups + 1),
        columns=0,
        scale=0.0,
        products=0,
        history=np.zeros((0, 2)),
        width=goal.width,
        is_rest=False,
        known=0.0,
    )


def restore_trace(arrays: Mapping[str, np.ndarray], like: Tensor, seed: int) -> TraceState:
    """The state that `snapshot` stored; its sketched probes are drawn again from the seed."""
    capacity, length = (int(each) for each in arrays["basis.shape"])
    probes = torch.empty((capacity, length), dtype=like.dtype, device=like.device)
    for index in range(len(arrays["quadratics"])):
        probes[index] = trace_probe(whole_length(length), like, seed, "sketched", index)
    return restore(TraceState, arrays, like, probes=probes)


def trace_probe(size: int, like: Tensor, seed: int, *path: str | int) -> Tensor:
    """A random vector `(P,)`, uniform on the sphere of radius sqrt(P)."""
    vector = seeds.normal_vector(size, like, seed, "trace", *path)
    return vector.mul_(size**0.5 / norm(vector))
