"""The user's module without its wrappers, in eval mode for a while, and what theta may hold of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import landscape
from landscape.errors import TaskError
from landscape.network.wrappers import first_names, hold_mode, same_values, trainable_parameters, unwrap


def mixed() -> nn.Sequential:
    """A training net with a part in eval mode, as when a backbone is frozen."""
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    net[1].eval()
    return net


def modes(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


def test_wrappers_are_removed_from_the_outside_in() -> None:
    inner = nn.Linear(2, 1)
    assert unwrap(inner) is inner
    assert unwrap(torch.compile(nn.DataParallel(inner), backend="eager")) is inner  # type: ignore[arg-type]


def test_an_own_attribute_called_module_is_no_wrapper() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 1)

    head = Head()
    assert unwrap(head) is head


def test_a_sharded_model_is_refused() -> None:
    sharded = type("FullyShardedDataParallel", (nn.Module,), {})()
    with pytest.raises(TaskError, match=r"sharded by FSDP"):
        unwrap(sharded)


def test_every_submodule_gets_its_own_mode_back_after_nested_blocks() -> None:
    net = mixed()
    before = modes(net)
    with hold_mode(net, "eval"):
        with hold_mode(net, "eval"):
            assert not any(modes(net))
        assert not any(modes(net)), "the inner block does not end the outer one's"
    assert modes(net) == before == [True, True, False, False, False]


def test_modes_are_restored_after_an_error() -> None:
    net = mixed()
    before = modes(net)
    with pytest.raises(RuntimeError, match="forward"), hold_mode(net, "eval"):
        raise RuntimeError("forward")
    assert modes(net) == before


def test_parameters_are_those_that_require_a_gradient() -> None:
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    assert list(trainable_parameters(net)) == ["weight"]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Flatten(), "no trainable parameter"),
        (nn.LazyLinear(2), r"no shape yet: weight, bias"),
        (nn.Linear(2, 1, dtype=torch.complex64), r"not real numbers: weight \(torch.complex64\)"),
    ],
    ids=["none", "lazy", "complex"],
)
def test_a_model_without_a_vector_of_parameters_is_refused(net: nn.Module, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        trainable_parameters(net)


def test_tied_tensors_are_called_by_their_first_name() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert first_names(net) == {"0.weight": "0.weight", "0.bias": "0.bias", "1.weight": "0.weight", "1.bias": "1.bias"}


@pytest.mark.parametrize("table", [nn.Embedding(7, 4, sparse=True), nn.EmbeddingBag(7, 4, sparse=True, mode="sum")])
def test_embeddings_with_sparse_gradients_are_measured_as_dense_ones(table: nn.Module) -> None:
    words, targets = torch.randint(0, 7, (20, 3), generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    inner = nn.Flatten() if isinstance(table, nn.Embedding) else nn.Identity()
    width = 12 if isinstance(table, nn.Embedding) else 4
    model = nn.Sequential(table, inner, nn.Tanh(), nn.Linear(width, 3))
    dense = copy.deepcopy(model)
    dense[0].sparse = False
    sparse, plain = (landscape.Objective(m, (words, targets), "cross_entropy") for m in (model, dense))
    assert torch.allclose(sparse.gradient(), plain.gradient())
    assert table.sparse


def test_same_values_knows_nan_and_integers() -> None:
    one = torch.tensor([1.0, torch.nan])
    assert same_values(one, one.clone())
    assert not same_values(one, torch.tensor([1.0, 2.0]))
    assert same_values(torch.arange(3), torch.arange(3))
    assert not same_values(torch.arange(3), torch.arange(3) + 1)


def test_parameters_that_are_split_over_processes_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[1].weight.device_mesh = object()  # type: ignore[assignment]  # what tells a DTensor
    model[1].requires_grad_(False)
    with pytest.raises(TaskError, match=r"split over processes \(DTensor\): 1.weight\n.*\n.*--shard on"):
        trainable_parameters(model)
