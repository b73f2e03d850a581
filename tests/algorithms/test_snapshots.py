"""States as arrays: what is stored, what is shared, and that a restored state equals the one that was stored."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.algorithms.snapshots import RECOMPUTED, TENSOR, buffer, nested, restore, snapshot


@dataclass(frozen=True)
class Inner:
    """A state within another."""

    count: int
    vector: Tensor = field(metadata=TENSOR)


@dataclass(frozen=True)
class Outer:
    """A state with a field of every kind."""

    values: np.ndarray
    done: bool
    scale: float
    used: int
    basis: Tensor = field(metadata=buffer("used"))
    columns: Tensor = field(metadata=buffer("used", axis=1))
    probes: Tensor = field(metadata=RECOMPUTED)
    best: Tensor | None = field(default=None, metadata=TENSOR)
    run: Inner | None = field(default=None, metadata=nested(Inner))


def outer(**changes: object) -> Outer:
    rows = torch.arange(12.0, dtype=torch.float64).view(4, 3)
    plain = {"values": np.array([1.0, np.nan]), "done": True, "scale": 0.1, "used": 2}
    return Outer(**{**plain, "basis": rows, "columns": rows.T.clone(), "probes": rows[:1], **changes})  # type: ignore[arg-type]


def test_a_snapshot_holds_only_the_entries_in_use() -> None:
    arrays = snapshot(outer())
    assert arrays.keys() == {
        *("values", "done", "scale", "used", "basis", "basis.shape", "columns", "columns.shape"),
    }
    assert arrays["basis"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["columns"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["basis.shape"].tolist() == [4, 3]


def test_a_restored_state_has_the_same_snapshot_and_types() -> None:
    state = outer(best=torch.ones(3), run=Inner(3, torch.tensor([0.5])))
    arrays = snapshot(state)
    again = restore(Outer, arrays, torch.zeros(1, dtype=torch.float64), probes=state.probes)
    assert again.done is True
    assert type(again.used) is int
    assert again.basis.shape == (4, 3)
    assert again.run is not None
    assert again.run.count == 3
    assert again.probes is state.probes
    twice = snapshot(again)
    assert twice.keys() == arrays.keys()
    assert all(np.array_equal(twice[name], arrays[name], equal_nan=True) for name in arrays)


def test_none_is_left_out_and_comes_back_as_none() -> None:
    again = restore(Outer, snapshot(outer()), torch.zeros(1), probes=torch.zeros(1))
    assert again.best is None
    assert again.run is None


def test_tensors_take_the_dtype_of_the_prototype() -> None:
    state = outer(best=torch.ones(3, dtype=torch.float64))
    again = restore(Outer, snapshot(state), torch.zeros(1, dtype=torch.float32), probes=state.probes)
    assert again.basis.dtype == torch.float32
    assert again.best is not None
    assert again.best.dtype == torch.float32


def test_tensors_share_their_memory_with_a_snapshot_and_restored_ones_are_copies() -> None:
    """Large states are not doubled by a snapshot, which is saved before the next step; NumPy arrays are small."""
    state = outer(best=torch.ones(3))
    arrays = snapshot(state)
    assert state.best is not None
    state.best.zero_()
    state.values[0] = 7
    state.basis[0, 0] = 7
    assert arrays["best"].tolist() == [0, 0, 0]
    assert arrays["values"][0] == 1
    assert arrays["basis"][0, 0] == 7
    again = restore(Outer, arrays, torch.zeros(1), probes=state.probes)
    again.values[0] = 9
    assert again.best is not None
    again.best.fill_(5)
    assert arrays["values"][0] == 1
    assert arrays["best"].tolist() == [0, 0, 0]


def test_buffers_lie_where_they_are_asked_for() -> None:
    asked: list[tuple[int, ...]] = []

    def allocate(shape: tuple[int, ...], like: Tensor) -> Tensor:
        asked.append(shape)
        return torch.zeros(shape, dtype=like.dtype)

    again = restore(Outer, snapshot(outer()), torch.zeros(1), allocate=allocate, probes=torch.zeros(1))
    assert asked == [(4, 3), (3, 4)]
    assert not again.basis[2:].any()  # beyond the entries in use nothing was written


def test_a_missing_array_is_an_error() -> None:
    for name in {part.name for part in fields(Outer)} - {"probes", "best", "run"}:
        arrays = {n: v for n, v in snapshot(outer()).items() if n != name}
        with pytest.raises(KeyError, match=name):
            restore(Outer, arrays, torch.zeros(1), probes=torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("used", np.asarray(-1)),
        ("used", np.asarray(2.0)),
        ("used", np.asarray([2])),
        ("done", np.asarray(1)),
        ("scale", np.asarray("x")),
        ("values", np.asarray(1.0)),
        ("basis", np.zeros((2, 4))),
        ("basis", np.zeros(3)),
        ("basis", np.zeros((2, 3), dtype=bool)),
        ("basis", np.zeros((5, 3))),
        ("basis.shape", np.asarray([4])),
        ("basis.shape", np.asarray([-4, 3])),
        ("columns", np.zeros((4, 2))),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype} {value.shape}",
)
def test_arrays_that_no_such_state_can_hold_are_refused(name: str, values: np.ndarray) -> None:
    state = outer()
    arrays = snapshot(state) | {name: values}
    with pytest.raises((ValueError, RuntimeError)):
        restore(Outer, arrays, torch.zeros(1, dtype=torch.float64), probes=state.probes)
