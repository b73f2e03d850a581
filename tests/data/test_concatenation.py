"""Batches joined into one: what is joined, what stays apart, and that no number changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.data.concatenation import concatenate, tree_form
from landscape.data.survey import survey
from landscape.operators import HessianOperator

Data = list[tuple[Any, Any]]


ONES = torch.ones(2)


def kept(data: Any) -> Any:
    return survey(data, device=torch.device("cpu"), dtype=torch.float64, budget=1 << 20)


@pytest.fixture
def ragged(classification: tuple[Tensor, Tensor]) -> Data:
    x, y = classification
    return list(zip(x.split([10, 10, 4]), y.split([10, 10, 4]), strict=True))


def test_the_batches_become_views_of_one(ragged: Data) -> None:
    before = kept(ragged)
    after = concatenate(before, 1 << 20)
    assert after.whole is not None
    assert after.whole.size == 24
    assert (after.sha256, after.samples, after.largest) == (before.sha256, before.samples, before.largest)
    for own, view in zip(before, after, strict=True):
        assert torch.equal(own.inputs, view.inputs)
        assert torch.equal(own.targets, view.targets)
        assert own.first == view.first
        assert view.inputs.untyped_storage().data_ptr() == after.whole.inputs.untyped_storage().data_ptr()


def test_every_tensor_of_a_tree_finds_its_place() -> None:
    parts = [({"b": torch.full((n, 2), n), "a": (torch.full((n,), 10 * n),)}, torch.full((n,), -n)) for n in (3, 2)]
    whole = concatenate(kept(parts), 1 << 20).whole
    assert whole is not None
    assert whole.inputs["b"][:, 0].tolist() == [3, 3, 3, 2, 2]
    assert whole.inputs["a"][0].tolist() == [30, 30, 30, 20, 20]
    assert whole.targets.tolist() == [-3, -3, -3, -2, -2]


@pytest.mark.parametrize(
    ("data", "room"),
    [
        ([(torch.zeros(2, 3), torch.zeros(2)), (torch.zeros(2, 4), torch.zeros(2))], 1 << 20),
        ([(torch.zeros(2, 3), torch.zeros(2)), (torch.zeros(2, 3), torch.zeros(2))], 100),
        ([({"a": ONES, "b": ONES}, ONES), ({"b": ONES, "a": ONES}, ONES)], 1 << 20),
        ([({"a": ONES, "b": ONES}, ONES), ({"a": ONES, "c": ONES}, ONES)], 1 << 20),
        ([((ONES, ONES), ONES), ({"a": ONES, "b": ONES}, ONES)], 1 << 20),
    ],
    ids=["of two widths", "no room", "in another order", "of other names", "of other trees"],
)
def test_what_cannot_be_joined_stays(data: Data, room: int) -> None:
    before = kept(data)
    assert concatenate(before, room) is before


def test_data_that_are_read_anew_stay(ragged: Data) -> None:
    streamed = survey(ragged, device=torch.device("cpu"), dtype=torch.float64, budget=0)
    assert concatenate(streamed, 1 << 20) is streamed


def test_joined_batches_take_fewer_passes_and_change_nothing(ragged: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Objective(tanh_net(), ragged, "cross_entropy", dtype="float64")
    assert together.single_batch
    assert [batch.size for batch in together.micro_batches()] == [24]
    monkeypatch.setattr("landscape.objective.preparation.concatenate", lambda batches, room: batches)
    apart = Objective(tanh_net(), ragged, "cross_entropy", dtype="float64")
    assert [batch.size for batch in apart.micro_batches()] == [10, 10, 4]
    assert float(together.value()) == pytest.approx(float(apart.value()), rel=1e-14)
    assert torch.allclose(HessianOperator(together).to_dense(), HessianOperator(apart).to_dense(), atol=1e-14)


def test_a_micro_batch_that_is_asked_for_cuts_across_the_data_s_own(ragged: Data) -> None:
    objective = Objective(tanh_net(), ragged, "cross_entropy", micro_batch=16)
    assert [batch.size for batch in objective.micro_batches()] == [16, 8]
    assert objective.largest_micro_batch == 16
    assert not objective.single_batch


def test_no_more_is_joined_than_launching_can_gain(ragged: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_each = Objective(tanh_net(), ragged, "cross_entropy").activation_bytes
    monkeypatch.setattr("landscape.objective.micro_batch.CONCATENATED_BYTES", 15 * bytes_each)
    assert [b.size for b in Objective(tanh_net(), ragged, "cross_entropy").micro_batches()] == [15, 9]
    monkeypatch.setattr("landscape.objective.micro_batch.CONCATENATED_BYTES", 0)
    assert Objective(tanh_net(), ragged, "cross_entropy").micro_batch == 10  # as the data come


def test_samples_that_depend_on_their_batch_stay_in_it(ragged: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3))
    objective = Objective(net, ragged, "cross_entropy", dtype="float64")
    assert objective.batches.whole is None
    with torch.no_grad():
        losses = [float(nn.functional.cross_entropy(net.double()(x.double()), y)) * len(y) for x, y in ragged]
    expected = sum(losses) / 24
    assert float(objective.value()) == pytest.approx(expected, rel=1e-12)


def test_samples_that_depend_on_one_batch_keep_other_data_apart(ragged: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3))
    whole = tuple(torch.cat(parts) for parts in zip(*ragged, strict=True))
    assert Objective(net, [whole], "cross_entropy").with_data(ragged).batches.whole is None


def test_what_cannot_be_told_stays_apart(ragged: Data) -> None:
    """Losses of 0 say nothing about samples together and apart; a single one that counts is enough."""
    ignored = [(x, torch.full_like(y, -100)) for x, y in ragged[:2]] + [ragged[2]]
    assert Objective(tanh_net(), [*ragged, *ignored], "cross_entropy").batches.whole is not None
    perfect = [(x.double(), torch.zeros(len(x), 3, dtype=torch.float64)) for x, _ in ragged]
    silent = nn.Linear(5, 3)
    nn.init.zeros_(silent.weight)
    nn.init.zeros_(silent.bias)
    objective = Objective(silent, perfect, "mse")
    assert objective.batches.whole is None
    assert not objective.as_given


def test_samples_are_tried_from_the_whole_length_of_the_data() -> None:
    """A mean over all tokens of a batch is one over samples only where all count alike: those at the end do not."""

    def mean(output: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten())

    torch.manual_seed(0)
    x, y = torch.randn(64, 4, 5), torch.randint(0, 3, (64, 4))
    y[40:, 1:] = -100
    data = list(zip(x.split(8), y.split(8), strict=True))
    assert Objective(tanh_net(), data, mean).batches.whole is None
    y[:] = y.clamp(min=0)
    assert Objective(tanh_net(), data, mean).batches.whole is not None


def test_other_data_are_joined_as_well(ragged: Data) -> None:
    objective = Objective(tanh_net(), ragged, "cross_entropy")
    assert objective.with_data(ragged[:2]).batches.whole is not None
    assert [batch.size for batch in objective.with_data(ragged[:2]).micro_batches()] == [20]


def test_batches_that_are_units_stay_apart() -> None:
    graph = ((torch.zeros(3, 2), torch.zeros(2, 5)), torch.zeros(3))
    for data in ([graph], [graph, graph]):
        before = kept(data)
        assert concatenate(before, 1 << 20) is before


def test_nested_tensors_have_no_form_that_others_share() -> None:
    with pytest.warns(UserWarning, match="prototype"):
        nested = torch.nested.nested_tensor([torch.ones(2, 5), torch.ones(3, 5)])
    assert tree_form(nested) is None


def test_items_of_an_objective_are_concatenated_as_pairs_are() -> None:
    """Their targets are None, and they are as fast as those of a loss by name."""
    x, y = torch.arange(10.0).view(5, 2), torch.arange(5)
    items = [(x[:3], y[:3]), (x[3:], y[3:])]
    settings = {"device": torch.device("cpu"), "dtype": torch.float32, "budget": 1 << 20}
    batches = concatenate(survey(items, **settings, as_items=True), 1 << 20)
    assert batches.whole is not None
    assert batches.whole.targets is None
    assert torch.equal(batches.whole.inputs[0], x)
    assert torch.equal(batches.whole.inputs[1], y)
