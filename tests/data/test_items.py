"""What data sets yield, understood as batches."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from landscape.data.items import as_batch
from landscape.data.survey import Batches, survey
from landscape.errors import TaskError

CPU = torch.device("cpu")
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24)


def surveyed(source: Any, budget: int = 1 << 20) -> Batches:
    return survey(source, device=CPU, dtype=torch.float32, budget=budget)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (7, "a batch is a int"),
        ((X, Y, Y), "a batch is a tuple of 3, not a pair"),
        ((X[:0], Y[:0]), "tensors of 0 samples"),
        ((X, 3), "targets hold no tensors"),
        (("a", "b"), "hold no tensors"),
        (("a", Y), "hold no tensors"),
    ],
    ids=["number", "triple", "none", "number as target", "words", "targets-only"],
)
def test_what_is_no_batch(item: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        as_batch(item)


def test_a_pair_of_tensors_is_one_batch_and_a_dataset_is_batched() -> None:
    assert surveyed((X, Y)).sha256 == surveyed(TensorDataset(X, Y)).sha256 == surveyed([(X, Y)]).sha256


class TestNames:
    """Batches in dictionaries, arrays, and batches without targets."""

    @pytest.mark.parametrize("names", [("inputs", "targets"), ("input", "target"), ("x", "y")], ids="-".join)
    def test_a_dictionary_of_two_is_a_pair(self, names: tuple[str, str]) -> None:
        batch = as_batch(dict(zip(names, (X, Y), strict=True)))
        assert batch.inputs is X
        assert batch.targets is Y

    @pytest.mark.parametrize("label", ["labels", "label", "targets", "target"])
    def test_labels_are_no_argument_of_the_model(self, label: str) -> None:
        batch = as_batch({"tokens": X, "mask": X > 0, "nothing": None, label: Y})
        assert set(batch.inputs) == {"tokens", "mask"}
        assert batch.targets is Y

    def test_other_mappings_are_dictionaries(self) -> None:
        batch = as_batch(UserDict(tokens=X, labels=Y))
        assert batch.inputs == {"tokens": X}

    @pytest.mark.parametrize("item", [X, (X,), [X]], ids=["tensor", "tuple", "list"])
    def test_a_single_tensor_is_its_own_target(self, item: Any) -> None:
        batch = as_batch(item)
        assert batch.inputs is X
        assert batch.targets is X

    def test_a_dictionary_without_labels_is_its_own_target(self) -> None:
        batch = as_batch({"tokens": X})
        assert batch.targets["tokens"] is X

    def test_arrays_are_tensors(self) -> None:
        for item in ((X.numpy(), Y.numpy()), {"x": X.numpy(), "y": Y.numpy()}):
            batch = as_batch(item)
            assert torch.equal(batch.inputs, X)
            assert torch.equal(batch.targets, Y)
        nested = as_batch(({"a": X.numpy()}, Y))
        assert torch.equal(nested.inputs["a"], X)

    @pytest.mark.parametrize("source", [X, {"x": X, "y": Y}, (X.numpy(), Y.numpy())], ids=["tensor", "dict", "arrays"])
    def test_one_batch_alone_is_a_data_set(self, source: Any) -> None:
        assert surveyed(source).samples == 24


class TestOneBatchAlone:
    """A pair is a tuple whose second part is a tensor, whatever the first one is."""

    @pytest.mark.parametrize("inputs", [{"a": X}, (X, X), X], ids=["dictionary", "tuple", "tensor"])
    def test_it_is_not_taken_for_two(self, inputs: Any) -> None:
        assert surveyed((inputs, Y)).samples == 24

    def test_two_pairs_in_a_tuple_are_two(self) -> None:
        assert surveyed(((X[:10], Y[:10]), (X[10:], Y[10:]))).samples == 24

    @pytest.mark.parametrize("source", [[X, X], (X, X, X), [X, Y, X]], ids=["two", "tuple", "three"])
    def test_bare_tensors_could_be_either(self, source: Any) -> None:
        with pytest.raises(TaskError, match=r"a (list|tuple) of \d tensors\n.*several without targets\n.*a tuple"):
            surveyed(source)

    def test_what_the_user_s_data_raise_is_told(self) -> None:
        loader = DataLoader([(X[0], 1), (X[0, :3], 2)], batch_size=2)  # type: ignore[arg-type]
        with pytest.raises(TaskError, match=r"the data fails at batch 0: RuntimeError: stack.*\n.*collate_fn"):
            surveyed(loader)


class TestItemsAsTheyAre:
    """An objective's function gets what the data yield, on the device and in the precision."""

    @pytest.mark.parametrize(
        "item",
        [[X, Y], (X, Y), {"x": X, "labels": Y}, {"a": {"b": [X]}}, (X, Y, X), X, UserDict(x=X)],
        ids=["list", "tuple", "dictionary", "nested", "triple", "tensor", "mapping"],
    )
    def test_the_form_stays(self, item: Any) -> None:
        batch = as_batch(item, as_item=True)
        assert type(batch.inputs) is type(item)
        assert batch.targets is None
        assert batch.size == 24

    def test_words_and_numbers_stay(self) -> None:
        batch = as_batch({"x": X, "kind": "train", "rate": 0.5, "names": ["a"] * 24}, as_item=True)
        assert batch.inputs["kind"] == "train"
        assert [piece.inputs["names"] for piece in batch.split(20)] == [["a"] * 20, ["a"] * 4]
        assert {piece.inputs["rate"] for piece in batch.split(20)} == {0.5}

    def test_arrays_of_numbers_are_tensors_wherever_they_are(self) -> None:
        item = {"deep": [np.arange(24.0)[::-1], {"big": np.arange(24, dtype=">i4")}], "words": np.array(["a"] * 24)}
        frozen = np.arange(24.0)
        frozen.flags.writeable = False
        batch = as_batch({**item, "frozen": frozen}, as_item=True)
        assert batch.inputs["deep"][0].tolist() == list(range(24))[::-1]
        assert batch.inputs["deep"][1]["big"].tolist() == list(range(24))
        assert isinstance(batch.inputs["words"], np.ndarray)
        assert batch.size == 24

    def test_the_tensors_are_in_the_precision_that_is_measured_in(self) -> None:
        found = survey([{"x": [X, "a"]}], device=CPU, dtype=torch.float64, budget=1 << 20, as_items=True)
        assert next(iter(found)).inputs["x"][0].dtype == torch.float64

    @pytest.mark.parametrize("budget", [0, 1 << 20], ids=["streamed", "kept"])
    def test_batches_that_are_read_anew_keep_the_form(self, budget: int) -> None:
        loader = DataLoader(TensorDataset(X, Y), batch_size=10)
        found = survey(loader, device=CPU, dtype=torch.float32, budget=budget, as_items=True)
        for _ in range(2):
            assert [type(batch.inputs) for batch in found] == [list] * 3
            assert [batch.size for batch in found] == [10, 10, 4]

    def test_a_dataset_comes_as_a_loader_collates_it(self) -> None:
        found = survey(TensorDataset(X, Y), device=CPU, dtype=torch.float32, budget=1 << 20, as_items=True)
        assert [type(batch.inputs) for batch in found] == [list]

    def test_a_pair_of_tensors_is_one_batch(self) -> None:
        found = survey((X, Y), device=CPU, dtype=torch.float32, budget=1 << 20, as_items=True)
        assert [type(batch.inputs) for batch in found] == [tuple]

    def test_an_object_alone_is_one_batch(self) -> None:
        class Graph:
            def __init__(self) -> None:
                self.x = X

            def to(self, device: Any) -> Graph:
                return self

            def __iter__(self) -> Any:  # as PyTorch Geometric's, over its names
                return iter([("x", self.x)])

        found = survey(Graph(), device=CPU, dtype=torch.float32, budget=1 << 20, as_items=True)
        assert [type(batch.inputs) for batch in found] == [Graph]


class TestUnits:
    """Tensors of several lengths make a batch that is one unit."""

    def test_a_graph_with_labels_of_its_nodes(self) -> None:
        batch = as_batch(((X, torch.zeros(2, 40)), Y))
        assert batch.size == 1
        assert not batch.divisible
        assert list(batch.split(1)) == [batch]

    def test_a_packed_sequence_is_one_argument(self) -> None:
        packed = torch.nn.utils.rnn.pack_sequence([X[:3], X[:2]])
        batch = as_batch((packed, Y[:2]))
        assert batch.arguments == ((packed,), {})

    def test_lists_of_pictures_stay_lists(self) -> None:
        batch = as_batch((([X, X[:2]],), [{"boxes": X}, {"boxes": X[:3]}]))
        assert isinstance(batch.arguments[0][0], list)
        assert isinstance(batch.targets, list)
