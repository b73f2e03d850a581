"""One pass over the data hashes, counts and keeps it; data that change from pass to pass are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import Splitter
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from landscape.data.survey import Batches, FirstSamples, survey
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


def test_batches_that_list_other_numbers_of_tensors_are_units() -> None:
    """A loader whose collate_fn is `list` gives fewer tensors in its last batch, all of one length."""
    loader = DataLoader(list(X[:9].split(3)), batch_size=2, collate_fn=list)
    found = survey([{"views": item} for item in loader], device=CPU, dtype=torch.float32, budget=1 << 20, as_items=True)
    assert found.unit == "one holds 2 tensors, another 1"
    assert [batch.size for batch in found] == [1, 1]


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

    def test_what_cannot_be_iterated(self) -> None:
        with pytest.raises(TaskError, match="cannot be iterated"):
            surveyed(7)


def test_the_user_s_random_numbers_go_on_as_if_nothing_had_happened() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    loader = DataLoader(TensorDataset(X, Y), batch_size=6)  # draws a seed from the global generator at each pass
    list(surveyed(loader, budget=0))
    assert torch.equal(torch.randn(3), expected)


@pytest.mark.parametrize("budget", [0, 10**9], ids=["streamed", "kept"])
def test_every_batch_knows_the_place_of_its_first_sample(budget: int, split: Splitter) -> None:
    x, y = torch.arange(24.0)[:, None], torch.zeros(24)
    batches = survey(split(x, y), device=torch.device("cpu"), dtype=torch.float32, budget=budget)
    for batch in batches:
        for piece in batch.split(3):
            for part in piece.cut((1, 8, 11)):
                assert part.inputs[0, 0] == part.first


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


class TestUnits:
    """Where one batch cannot be cut into samples, every batch counts as one."""

    GRAPHS = ((X[:6], torch.zeros(2, 14)), (X[:6], torch.zeros(6, 2)), (X[:3], torch.zeros(2, 4)))

    @pytest.mark.parametrize("budget", [0, 10**9], ids=["streamed", "kept"])
    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 1, 0)], ids=str)
    def test_all_batches_are_units_if_one_is(self, order: tuple[int, ...], budget: int) -> None:
        found = surveyed([self.GRAPHS[index] for index in order], budget=budget)
        assert (found.samples, found.largest) == (3, 1)
        assert [(batch.size, batch.first) for batch in found] == [(1, 0), (1, 1), (1, 2)]
        assert "each batch is one unit" in found.note
        assert "its tensors have 2 and 6 rows" in found.note

    def test_samples_need_no_note(self) -> None:
        assert surveyed([(X, Y)]).note == ""

    @pytest.mark.parametrize("limit", [1, 2, 7])
    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 1, 0)], ids=str)
    def test_the_first_so_many_batches(self, order: tuple[int, ...], limit: int) -> None:
        source = [self.GRAPHS[index] for index in order]
        beginning = FirstSamples(source, limit)
        found = survey(beginning, device=CPU, dtype=torch.float32, budget=10**9)
        if order == (1, 1, 0) and limit < 7:  # the first batches hold samples, and no later one is looked at
            assert found.samples == limit
        else:
            assert found.samples == min(limit, 3)
            assert beginning.cut == (limit < 3)

    def test_they_are_not_kept_twice(self) -> None:
        found = surveyed([self.GRAPHS[1], self.GRAPHS[0]])
        assert found.kept
        assert len(list(found)) == 2


class TestOnePass:
    @pytest.mark.parametrize("as_items", [False, True])
    @pytest.mark.parametrize("targets", [Y, Y[:3]], ids=["samples", "unit"])
    def test_data_that_are_exhausted_are_told_from_data_that_change(self, targets: Tensor, as_items: bool) -> None:
        class Once:
            def __init__(self) -> None:
                self.left = iter([(X, targets)])

            def __iter__(self) -> Iterator[Any]:
                return self.left

        with pytest.raises(TaskError, match=r"read only once: a second pass.*no batch\n.*--freeze-data 1"):
            survey(Once(), device=CPU, dtype=torch.float32, budget=0, as_items=as_items)

    def test_a_generator_names_the_remedy(self) -> None:
        with pytest.raises(TaskError, match=r"iterator or a generator\n.*--freeze-data 1"):
            surveyed((X, Y) for _ in range(2))
