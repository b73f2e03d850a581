"""Batches come in order, on the device and in the precision; on a GPU they are copied ahead without a mix-up."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from landscape.data.batches import Batch
from landscape.data.items import as_batch
from landscape.data.prefetch import _pageable, prefetch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def counted(count: int) -> list[Batch]:
    return [Batch(torch.full((3, 2), float(number)), torch.full((3,), number), 3 * number) for number in range(count)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_all_batches_come_in_order_on_the_device_in_the_precision(device: str, count: int) -> None:
    batches = list(prefetch(counted(count), torch.device(device), torch.float64))
    assert [int(batch.targets[0]) for batch in batches] == list(range(count))
    assert [batch.first for batch in batches] == [3 * number for number in range(count)]
    assert all(batch.inputs.dtype == torch.float64 and batch.inputs.device.type == device for batch in batches)


@pytest.mark.parametrize("device", DEVICES)
def test_a_loader_that_fills_one_buffer_again_and_again_gives_every_batch_once(device: str) -> None:
    buffer = torch.empty(3, 2)

    def reuse() -> Iterator[Batch]:
        for number in range(4):
            yield Batch(buffer.fill_(float(number)), torch.tensor([number] * 3))

    received = [
        (float(b.inputs[0, 0]), int(b.targets[0])) for b in prefetch(reuse(), torch.device(device), buffer.dtype)
    ]
    assert received == [(float(number), number) for number in range(4)]


@pytest.mark.parametrize("device", DEVICES)
def test_batches_of_other_forms_keep_their_form(device: str) -> None:
    x = torch.randn(5, 2)
    graph = SimpleNamespace(x=x, name="a")
    items = [pack_sequence([x[:3], x[3:]]), {"adjacency": torch.eye(5).to_sparse(), "x": x}, graph, ["a", None]]
    batches = [as_batch(item, as_item=True) for item in items]
    packed, sparse, moved, words = (batch.inputs for batch in prefetch(batches, torch.device(device), torch.float64))
    assert (packed.data.device.type, packed.batch_sizes.device.type) == (device, "cpu")
    assert packed.data.dtype == torch.float64
    assert (sparse["adjacency"].is_sparse, sparse["adjacency"].device.type) == (True, device)
    assert (moved.x.device.type, moved.x.dtype, moved.name, graph.x.dtype) == (
        device,
        torch.float64,
        "a",
        torch.float32,
    )
    assert words == ["a", None]


def test_sparse_tensors_are_not_copied_ahead() -> None:
    assert _pageable(Batch(torch.eye(3), None))
    assert not _pageable(Batch(torch.eye(3).to_sparse(), None))
