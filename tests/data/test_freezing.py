"""Frozen data: what some passes gave with a seed, in memory or on the disk, the same ever after."""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from landscape import Objective
from landscape.compute.random_state import global_states
from landscape.data import freezing
from landscape.data.freezing import FrozenData, freeze
from landscape.data.hashing import batch_digest
from landscape.data.items import as_batch
from landscape.errors import OutputError, TaskError

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24)


class Augmented(Dataset[Any]):
    """Samples that draw from all three global generators."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return X[index] + torch.randn(5) + np.random.normal() + random.gauss(0, 1), Y[index]


def shuffled(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), batch_size=10, shuffle=True, **options)


def digests(data: Any) -> list[str]:
    return [batch_digest(as_batch(item, as_item=True)) for item in data]


class TestPasses:
    @pytest.mark.parametrize(
        "make",
        [shuffled, lambda: DataLoader(Augmented(), batch_size=10), lambda: shuffled(generator=torch.Generator())],
        ids=["shuffled", "augmented", "own generator"],
    )
    def test_the_same_seed_gives_the_same_data_and_another_seed_others(self, make: Any) -> None:
        first = digests(freeze(make()))
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        assert digests(freeze(make())) == first
        assert digests(freeze(make(), seed=1)) != first

    def test_one_loader_gives_the_same_twice(self) -> None:
        generator = torch.Generator()
        loader = shuffled(generator=generator)
        before = generator.get_state()
        assert digests(freeze(loader)) == digests(freeze(loader))
        assert torch.equal(generator.get_state(), before)

    def test_passes_follow_each_other_and_differ(self) -> None:
        frozen = freeze(shuffled(), passes=2)
        assert [len(item[0]) for item in frozen] == [10, 10, 4, 10, 10, 4]
        first = digests(frozen)
        assert first[:3] == digests(freeze(shuffled()))
        assert first[3:] != first[:3]
        assert digests(frozen) == first

    def test_the_user_s_random_numbers_go_on_as_if_nothing_had_happened(self) -> None:
        before = global_states()
        freeze(DataLoader(Augmented(), batch_size=10), passes=2)
        assert global_states() == before

    def test_a_loader_that_fills_one_buffer_again_and_again_is_copied(self) -> None:
        buffer, array = torch.empty(12, 5), np.empty(12)

        def batches() -> Iterator[Any]:
            for part in (X[:12], X[12:]):
                array[:] = part[:, 0]
                yield {"x": buffer.copy_(part), "first": array}

        frozen = list(freeze(batches))
        assert torch.equal(torch.cat([item["x"] for item in frozen]), X)
        assert np.concatenate([item["first"] for item in frozen]).tolist() == X[:, 0].double().tolist()


class TestOnePassOnly:
    def test_a_generator_is_kept(self) -> None:
        objective = Objective(torch.nn.Linear(5, 24), freeze((X[:6], Y[:6]) for _ in range(2)), "cross_entropy")
        assert objective.count == 12

    def test_its_second_pass_is_refused(self) -> None:
        for source in (((X, Y) for _ in range(2)), iter([(X, Y)])):
            with pytest.raises(TaskError, match=r"pass 2 over the data gave no batch.*\n.*--freeze-data 1"):
                freeze(source, passes=2)

    def test_a_function_that_makes_a_generator_is_called_for_each_pass(self) -> None:
        def batches() -> Iterator[Any]:
            yield torch.randn(3), Y[:3]

        frozen = list(freeze(batches, passes=3))
        assert len({tuple(x.tolist()) for x, _ in frozen}) == 3

    def test_a_function_that_makes_a_loader_is_called_once(self) -> None:
        calls = []

        def make() -> Any:
            calls.append(1)
            return shuffled()

        freeze(make, passes=3)
        assert len(calls) == 1

    def test_no_batch_at_all(self) -> None:
        with pytest.raises(TaskError, match="the data set is empty"):
            freeze([])

    def test_what_the_data_raise_is_told(self) -> None:
        def batches() -> Iterator[Any]:
            yield X, Y
            raise ValueError("no more")

        with pytest.raises(TaskError, match="the data fails at batch 1: ValueError: no more"):
            freeze(batches)


class TestLimit:
    class Endless(IterableDataset[Any]):
        """A stream without an end."""

        def __iter__(self) -> Iterator[Tensor]:
            while True:
                yield torch.randn(3)

    @pytest.mark.parametrize(("limit", "batches"), [(1, 1), (10, 1), (11, 2)])
    def test_an_endless_stream_ends_where_the_samples_suffice(self, limit: int, batches: int) -> None:
        assert len(freeze(DataLoader(self.Endless(), batch_size=10), passes=2, limit=limit)) == batches

    def test_units_are_counted_by_batches(self) -> None:
        graphs = [((X, torch.zeros(2, 7)), Y)] * 5
        assert len(freeze(graphs, limit=3)) == 3
        assert len(freeze([[X, X[:2]]] * 5, limit=3, as_items=True)) == 3
        late = [[X[:2], X[:2]], *[[X, X[:2]]] * 5]  # that batches are units is seen in the second
        assert len(freeze(late, limit=3, as_items=True)) == 3


class TestDisk:
    @pytest.fixture
    def no_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(freezing, "room", lambda *_: 2000)

    def test_what_does_not_fit_into_memory_is_the_same_from_the_disk(self, no_memory: None, tmp_path: Path) -> None:
        frozen = freeze(shuffled(), passes=4, folder=tmp_path)
        assert not isinstance(frozen.items, list)
        assert digests(frozen) == digests(freeze(shuffled(), passes=4, folder=tmp_path)) == digests(frozen)
        assert list(tmp_path.iterdir()) == []  # the file has no name
        assert f"12 batches, 0.0 MB, kept in a file in {tmp_path} until the end" in frozen.note

    def test_two_readers_do_not_disturb_each_other(self, no_memory: None, tmp_path: Path) -> None:
        frozen = freeze([(X, Y), (X + 1, Y), (X + 2, Y)], passes=2, folder=tmp_path)
        assert all(torch.equal(one[0], other[0]) for one, other in zip(frozen, frozen, strict=True))

    def test_memory_is_preferred(self, tmp_path: Path) -> None:
        frozen = freeze(shuffled(), folder=tmp_path)
        assert isinstance(frozen.items, list)
        assert frozen.note == "data frozen: 1 pass with seed 0 gave 3 batches, 0.0 MB, kept in memory"

    def test_a_full_disk_is_told_before_it_is_full(
        self, no_memory: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = namedtuple("usage", "free")
        monkeypatch.setattr(freezing.shutil, "disk_usage", lambda _: usage(freezing.DISK_RESERVE + 100))
        with pytest.raises(OutputError, match=r"do not fit on the disk.*\n.*256 MB stay free\n.*--limit N"):
            freeze(shuffled(), passes=4, folder=tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written_is_named(self, no_memory: None, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"in .*missing\n.*No such file.*\n.*-o FILE"):
            freeze(shuffled(), passes=4, folder=tmp_path / "missing")

    def test_objects_that_cannot_be_written_are_told(self, no_memory: None, tmp_path: Path) -> None:
        with pytest.raises(TaskError, match=r"cannot be kept in a file.*\n.*yield tensors"):
            freeze([{"x": X.repeat(20, 1), "function": lambda: 1}], passes=4, folder=tmp_path)


def test_frozen_data_are_data_of_an_objective() -> None:
    frozen: FrozenData = freeze(shuffled(), passes=2)
    net = torch.nn.Linear(5, 24)
    objective = Objective(net, frozen, "cross_entropy", dtype="float64")
    net.double()
    wanted = sum(torch.nn.functional.cross_entropy(net(x.double()), y, reduction="sum").item() for x, y in frozen) / 48
    assert objective.count == 48
    assert float(objective.value()) == pytest.approx(wanted, rel=1e-12)
