"""Data: hashed whatever the batch size, refused when it changes, kept when it fits."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import Splitter
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from landscape.data.batches import Batch, Batches, FirstSamples, as_batch, survey
from landscape.errors import TaskError

CPU = torch.device("cpu")
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24)


def surveyed(source: Any, budget: int = 1 << 20) -> Batches:
    return survey(source, device=CPU, dtype=torch.float32, budget=budget)


def test_the_hash_covers_the_samples_and_not_the_batches(split: Splitter) -> None:
    assert surveyed(split(X, Y)).sha256 == surveyed([(X, Y)]).sha256


@pytest.mark.parametrize(
    "other",
    [(X.flip(0), Y), (X, Y.flip(0)), (X.double(), Y), (X[:-1], Y[:-1]), (X.view(24, 1, 5), Y)],
    ids=["inputs", "targets", "dtype", "count", "shape"],
)
def test_any_change_of_the_data_changes_the_hash(other: tuple[Tensor, Tensor]) -> None:
    assert surveyed([other]).sha256 != surveyed([(X, Y)]).sha256


def test_data_that_fits_is_read_twice_and_then_kept() -> None:
    class Counting(list[Any]):
        passes = 0

        def __iter__(self) -> Iterator[Any]:
            self.passes += 1
            return super().__iter__()

    source = Counting([(X[:10], Y[:10]), (X[10:], Y[10:])])
    kept = surveyed(source)
    assert kept.kept
    assert (kept.samples, kept.largest) == (24, 14)
    list(kept)
    list(kept)
    assert source.passes == 2  # the survey, and the look at the first batch again

    streamed = surveyed(source, budget=8)
    assert not streamed.kept
    assert [batch.size for batch in streamed] == [10, 14]
    assert streamed.sha256 == kept.sha256


def test_a_loader_that_fills_one_buffer_again_and_again_is_copied() -> None:
    class Reusing(list[Any]):
        buffer = torch.empty(12, 5)

        def __iter__(self) -> Iterator[Any]:
            for x, y in super().__iter__():
                yield self.buffer.copy_(x), y

    kept = surveyed(Reusing([(X[:12], Y[:12]), (X[12:], Y[12:])]))
    assert torch.equal(torch.cat([batch.inputs for batch in kept]), X)


def test_batches_may_differ_in_length_and_then_the_hash_knows() -> None:
    padded = [(X[:12], Y[:12]), (torch.cat([X, X], dim=1)[12:], Y[12:])]
    assert surveyed(padded).samples == 24
    assert surveyed(padded).sha256 != surveyed([(X, Y)]).sha256


class TestWhatIsRefused:
    def test_batches_of_another_kind(self) -> None:
        with pytest.raises(TaskError, match="batches differ in kind"):
            surveyed([(X, Y), (X.double(), Y)])

    def test_a_loader_that_shuffles(self) -> None:
        loader = DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=True)
        with pytest.raises(TaskError, match=r"changes from pass to pass.*\n.*shuffles.*\n.*shuffle=False"):
            surveyed(loader)

    def test_data_that_is_augmented(self) -> None:
        class Augmented(list[Any]):
            def __iter__(self) -> Iterator[Any]:
                return ((x + torch.randn(x.shape), y) for x, y in super().__iter__())

        with pytest.raises(TaskError, match="augments"):
            surveyed(Augmented([(X, Y)]))

    @pytest.mark.parametrize("source", [[], DataLoader(TensorDataset(X[:0], Y[:0]))], ids=["list", "loader"])
    def test_an_empty_data_set(self, source: Any) -> None:
        with pytest.raises(TaskError, match="the data set is empty"):
            surveyed(source)

    def test_a_generator(self) -> None:
        with pytest.raises(TaskError, match="read only once"):
            surveyed((X, Y) for _ in range(2))

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
    def test_what_is_no_batch(self, item: Any, message: str) -> None:
        with pytest.raises(TaskError, match=message):
            as_batch(item)

    def test_what_cannot_be_iterated(self) -> None:
        with pytest.raises(TaskError, match="cannot be iterated"):
            surveyed(7)


def test_a_pair_of_tensors_is_one_batch_and_a_dataset_is_batched() -> None:
    assert surveyed((X, Y)).sha256 == surveyed(TensorDataset(X, Y)).sha256 == surveyed([(X, Y)]).sha256


def test_the_user_s_random_numbers_go_on_as_if_nothing_had_happened() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    loader = DataLoader(TensorDataset(X, Y), batch_size=6)  # draws a seed from the global generator at each pass
    list(surveyed(loader, budget=0))
    assert torch.equal(torch.randn(3), expected)


def test_splitting_gives_views_of_every_leaf() -> None:
    batch = Batch({"a": X, "b": (X, X)}, Y)
    pieces = list(batch.split(10))
    assert [piece.size for piece in pieces] == [10, 10, 4]
    assert torch.equal(torch.cat([piece.inputs["b"][1] for piece in pieces]), X)
    assert torch.equal(torch.cat([piece.targets for piece in pieces]), Y)
    assert pieces[0].inputs["a"].data_ptr() == X.data_ptr()


@pytest.mark.parametrize("budget", [0, 10**9], ids=["streamed", "kept"])
def test_every_batch_knows_the_place_of_its_first_sample(budget: int, split: Splitter) -> None:
    x, y = torch.arange(24.0)[:, None], torch.zeros(24)
    batches = survey(split(x, y), device=torch.device("cpu"), dtype=torch.float32, budget=budget)
    for batch in batches:
        for piece in batch.split(3):
            for part in piece.cut((1, 8, 11)):
                assert part.inputs[0, 0] == part.first


def test_cutting_ends_pieces_before_the_places() -> None:
    batch = Batch(torch.arange(10), torch.arange(10), first=5)
    assert [piece.inputs.tolist() for piece in batch.cut((2, 5, 7, 8, 15, 20))] == [[0, 1], [2], [3, 4, 5, 6, 7, 8, 9]]
    assert [piece.first for piece in batch.cut((7, 8))] == [5, 7, 8]


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


class TestBeginning:
    @pytest.mark.parametrize("limit", [1, 10, 13, 24, 30])
    @pytest.mark.parametrize("budget", [0, 10**9], ids=["streamed", "kept"])
    def test_the_first_samples_whatever_the_batches(self, limit: int, budget: int, split: Splitter) -> None:
        beginning = FirstSamples(split(X, Y), limit)
        batches = survey(beginning, device=torch.device("cpu"), dtype=torch.float32, budget=budget)
        assert batches.samples == min(limit, 24)
        assert torch.equal(torch.cat([batch.inputs for batch in batches]), X[:limit])
        assert batches.sha256 == surveyed((X[:limit], Y[:limit])).sha256
        assert beginning.cut == (limit < 24)

    def test_a_loader_that_shuffles_is_still_noticed(self) -> None:
        loader = DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=True)
        with pytest.raises(TaskError, match="changes from pass to pass"):
            surveyed(FirstSamples(loader, 6))


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
