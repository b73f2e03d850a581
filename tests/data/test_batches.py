"""Batches are cut into views, changed tensor by tensor, and copied to a device and a precision."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from landscape.data.batches import Batch, batch_tensors, tensors_in_map_order, to_device, uneven_size
from landscape.data.survey import Batches, survey
from landscape.data.trees import leaves, map_tensors

CPU = torch.device("cpu")
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24)


def surveyed(source: Any, budget: int = 1 << 20) -> Batches:
    return survey(source, device=CPU, dtype=torch.float32, budget=budget)


def test_splitting_gives_views_of_every_leaf() -> None:
    batch = Batch({"a": X, "b": (X, X)}, Y)
    pieces = list(batch.split(10))
    assert [piece.size for piece in pieces] == [10, 10, 4]
    assert torch.equal(torch.cat([piece.inputs["b"][1] for piece in pieces]), X)
    assert torch.equal(torch.cat([piece.targets for piece in pieces]), Y)
    assert pieces[0].inputs["a"].data_ptr() == X.data_ptr()


def test_cutting_ends_pieces_before_the_places() -> None:
    batch = Batch(torch.arange(10), torch.arange(10), first=5)
    assert [piece.inputs.tolist() for piece in batch.cut((2, 5, 7, 8, 15, 20))] == [[0, 1], [2], [3, 4, 5, 6, 7, 8, 9]]
    assert [piece.first for piece in batch.cut((7, 8))] == [5, 7, 8]


def test_floating_tensors_change_their_precision_and_integers_do_not() -> None:
    batch = to_device(Batch({"a": X, "mask": X > 0}, Y), torch.device("cpu"), torch.float64)
    assert [tensor.dtype for tensor in batch_tensors(batch)] == [torch.float64, torch.bool, torch.int64]


def test_a_change_keeps_the_kind_of_every_container() -> None:
    class Pair(NamedTuple):
        left: Tensor
        right: Tensor

    tree = {"pair": Pair(X, Y), "list": [X, 3], "ordered": OrderedDict(z=X, a=Y)}
    changed = map_tensors(torch.neg, tree)
    assert isinstance(changed["pair"], Pair)
    assert isinstance(changed["ordered"], OrderedDict)
    assert changed["list"][1] == 3
    assert isinstance(changed["list"], list)
    assert all(torch.equal(a, -b) for a, b in zip(leaves(changed), leaves(tree), strict=True))


def test_tensors_are_named_in_the_order_in_which_a_change_visits_them() -> None:
    batch = Batch({"z": X, "a": Y.float()}, Y)
    visits = iter(tensors_in_map_order(batch))
    again = batch.map(lambda _: next(visits))
    assert again.inputs["z"] is X
    assert again.targets is Y


def test_arguments_are_given_by_place_or_by_name() -> None:
    assert Batch(X, Y).arguments == ((X,), {})
    assert Batch((X, Y), Y).arguments == ((X, Y), {})
    assert Batch({"x": X}, Y).arguments == ((), {"x": X})


def test_uneven_parts_hold_no_whole_groups() -> None:
    """Whatever the size of groups of neighbors is, one of both parts cuts a group."""
    for size in range(2, 40):
        part = uneven_size(size)
        assert 0 < part < size
        assert math.gcd(part, size) == 1
