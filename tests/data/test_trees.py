"""Trees of tensors are taken apart and put together again in their own form, whatever they consist of."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from landscape.data.trees import attributes, dense_parts, explain_unit, holds_arrays, leaf_nodes, leaves, map_tensors
from landscape.errors import TaskError

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6)


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class Frozen:
    x: Tensor
    name: str = "a"


@dataclass(slots=True)
class Slotted:
    x: Tensor
    names: tuple[str, ...] = ("a", "b")


class Graph:
    """As PyTorch Geometric's: tensors in an object with `.to()`, which knows its parent."""

    def __init__(self, nodes: int = 6, edges: int = 14) -> None:
        self.x = torch.randn(nodes, 3)
        self.store = SimpleNamespace(edge_index=torch.randint(nodes, (2, edges)), parent=self)
        self.num_nodes = nodes

    def to(self, device: Any) -> Graph:
        """Changes the object in place, as PyTorch Geometric's does."""
        self.x, self.store.edge_index = self.x.to(device), self.store.edge_index.to(device)
        return self


class Private:
    """An object that hides its tensor in a slot."""

    __slots__ = ("__x", "unset")

    def __init__(self) -> None:
        self.__x = X

    def value(self) -> Tensor:
        """The tensor."""
        return self.__x


class Own(list[Any]):
    """A user's list."""


FORMS = {
    "list": [X, "a", [X]],
    "tuple": (X, 3, (X,)),
    "dictionary": {"b": {"c": [X]}, "a": X},
    "ordered": OrderedDict(z=X, a=Y),
    "default": defaultdict(list, a=[X]),
    "user dictionary": UserDict(a=X, b="word"),
    "named": Pair(X, Y),
    "frozen dataclass": Frozen(X),
    "dataclass with slots": Slotted(X),
    "object": Graph(),
    "private": Private(),
    "namespace": SimpleNamespace(x=X, deep=[{"y": Y}]),
    "own list": Own([X, Y]),
    "packed": pack_sequence([X[:3], X[:2]]),
}


@pytest.mark.parametrize("tree", FORMS.values(), ids=FORMS)
def test_a_change_reaches_every_tensor_and_keeps_every_form(tree: Any) -> None:
    before = [tensor.clone() for tensor in leaves(tree)]
    changed = map_tensors(lambda tensor: tensor + 1, tree)
    assert type(changed) is type(tree)
    assert len(before) > 0
    pairs = list(zip(leaves(changed), leaves(tree), before, strict=True))
    assert all(torch.equal(new, old + 1) and torch.equal(own, old) for new, own, old in pairs)


def test_values_and_the_form_of_every_part_stay() -> None:
    changed = map_tensors(torch.neg, {"list": [X, 3], "words": ("a", "b"), "none": None, "pair": Pair(X, Y)})
    assert (changed["list"][1], changed["words"], changed["none"]) == (3, ("a", "b"), None)
    assert isinstance(changed["list"], list)
    assert isinstance(changed["pair"], Pair)
    assert map_tensors(torch.neg, Slotted(X, ("z",))).names == ("z",)


def test_an_object_that_knows_itself_is_copied_once() -> None:
    graph = Graph()
    changed = map_tensors(Tensor.double, graph)
    assert changed.store.parent is changed
    assert changed.store.edge_index.dtype == torch.float64
    assert graph.x.dtype == torch.float32
    assert graph.store.parent is graph


def test_objects_without_tensors_are_passed_along() -> None:
    lock = SimpleNamespace(name="lock")
    assert map_tensors(torch.neg, [X, lock])[1] is lock
    assert not holds_arrays(lock)
    module = nn.Linear(2, 2)
    assert list(leaves([module, X])) == [X]  # a module is no data


def test_an_object_that_cannot_be_copied_is_named() -> None:
    class Handle:
        def __init__(self) -> None:
            self.x = X

        def __copy__(self) -> Handle:
            raise RuntimeError("one only")

    with pytest.raises(TaskError, match=r"a Handle that cannot be copied: RuntimeError: one only\n.*\n.*dictionary"):
        map_tensors(torch.neg, {"handle": Handle()})


def test_a_mapping_that_cannot_be_written_into_becomes_a_dictionary() -> None:
    assert torch.equal(map_tensors(torch.neg, MappingProxyType({"a": X}))["a"], -X)


def test_the_lengths_of_a_packed_sequence_stay_on_the_cpu_and_are_hashed() -> None:
    packed = pack_sequence([X[:3], X[:2]])
    changed = map_tensors(lambda tensor: tensor.to("meta"), packed)
    assert isinstance(changed, PackedSequence)
    assert changed.data.device.type == "meta"
    assert changed.batch_sizes.device.type == "cpu"
    assert (2, 2, 1) in list(leaf_nodes(packed))


@pytest.mark.parametrize("tensor", [X.to_sparse(), X], ids=["sparse", "dense"])
def test_the_parts_of_a_sparse_tensor_lie_in_memory(tensor: Tensor) -> None:
    parts = dense_parts(tensor)
    assert torch.equal(parts[-1].flatten(), X.flatten())


def test_attributes_are_those_that_an_object_holds_itself() -> None:
    assert set(attributes(Slotted(X))) == {"x", "names"}
    assert list(attributes(Private())) == ["_Private__x"]


class TestUnits:
    """A tree that cannot be cut into samples says why."""

    @pytest.mark.parametrize(
        "tree",
        [
            (X, Y),
            {"x": X, "flag": True, "rate": 0.1, "nothing": None, "kind": "train"},
            {"x": X, "names": list("abcdef"), "places": np.array(list("abcdef"))},
            Frozen(X),
            Pair(X, Y),
            UserDict(a=X),
        ],
        ids=["pair", "settings", "columns", "dataclass", "named", "mapping"],
    )
    def test_what_can_be_cut(self, tree: Any) -> None:
        assert explain_unit(tree) == ""

    @pytest.mark.parametrize(
        ("tree", "reason"),
        [
            ((X, torch.zeros(2, 14)), "its tensors have 2 and 6 rows"),
            ([{"boxes": X[:n]} for n in range(5)], "its tensors have 0 to 4 rows"),
            ((X, X[:1], X[:2]), "its tensors have 1, 2 and 6 rows"),
            ((X, torch.tensor(1.0)), "one of its tensors has no rows, but a single value"),
            ({"x": X, "names": list("abc")}, "a list of 3 values stands beside tensors of 6 rows"),
            (pack_sequence([X[:3]]), "it holds a PackedSequence"),
            ([X, Graph()], "it holds a Graph"),
            ([X, object()], "it holds a object"),
            (X.to_sparse(), "one of its tensors is sparse or nested"),
            (["a", "b"], "it holds no tensors"),
            (None, "it holds no tensors"),
        ],
        ids=["graph", "boxes", "three", "number", "names", "packed", "object", "opaque", "sparse", "words", "nothing"],
    )
    def test_what_cannot(self, tree: Any, reason: str) -> None:
        assert explain_unit(tree) == reason
