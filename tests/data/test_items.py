"""What data sets yield, understood as batches."""

from __future__ import annotations

from collections import UserDict
from typing import Any

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
        ((X, Y[:5]), r"tensors of \[5, 24\] samples"),
        ((X[:0], Y[:0]), r"tensors of \[0\] samples"),
        (("a", "b"), "hold no tensors"),
        (("a", Y), "hold no tensors"),
    ],
    ids=["number", "triple", "unequal", "none", "words", "targets-only"],
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
