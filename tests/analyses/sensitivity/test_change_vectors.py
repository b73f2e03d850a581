"""Rounding against torch's fake quantization and by hand, and which weights are pruned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.analyses.sensitivity.change_vectors import ChangeVectors, lowest, round_groups, round_rows, round_weight
from landscape.analyses.sensitivity.weight_changes import Granularity, WeightChange
from landscape.network.filters import FilterAxis, filter_rows

TENSOR, CHANNEL, GROUPS = (Granularity.parse(text) for text in ("tensor", "channel", "group:4"))


def fake_quantized(weight: Tensor, bits: int) -> Tensor:
    """Torch's own rounding with one scale for the tensor."""
    steps = 2 ** (bits - 1) - 1
    return torch.fake_quantize_per_tensor_affine(weight, float(weight.abs().max()) / steps, 0, -steps, steps)


def vectors(granularity: Granularity, net: nn.Module, saliency: Tensor | None = None) -> ChangeVectors:
    """The changes of all weights, and of no bias, of a net of linear layers without inputs worth naming."""
    objective = Objective(net, [(torch.ones(2, 5), torch.ones(2, 3))], "mse")
    layers = objective.space.layers({n for n in objective.space.names if n.endswith("weight")})
    return ChangeVectors(objective, layers, granularity, saliency)


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_one_scale_for_a_tensor_rounds_as_torch_s_fake_quantization(bits: int, generator: torch.Generator) -> None:
    weight = torch.randn(6, 3, 3, generator=generator)
    ours = round_weight(weight, bits, TENSOR, FilterAxis())
    torch.testing.assert_close(ours, fake_quantized(weight, bits), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_a_scale_for_each_output_rounds_as_torch_s_fake_quantization(bits: int, generator: torch.Generator) -> None:
    weight, steps = torch.randn(6, 3, 3, generator=generator), 2 ** (bits - 1) - 1
    scales = weight.abs().amax(dim=(1, 2)) / steps
    zeros = torch.zeros(6, dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -steps, steps)
    torch.testing.assert_close(round_weight(weight, bits, CHANNEL, FilterAxis()), expected, rtol=1e-6, atol=1e-7)


def test_rows_are_rounded_to_the_values_that_a_hand_finds() -> None:
    rows = torch.tensor([[3.0, -1.4, 1.6, 0.2], [0.0, 0.0, 0.0, 0.0], [-0.3, 0.3, 0.14, -0.16]])
    expected = torch.tensor([[3.0, -1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-0.3, 0.3, 0.1, -0.2]])
    torch.testing.assert_close(round_rows(rows, 3), expected)


def test_ties_go_to_even_multiples() -> None:
    torch.testing.assert_close(
        round_rows(torch.tensor([[3.0, 0.5, 1.5, -2.5]]), 3), torch.tensor([[3.0, 0.0, 2.0, -2.0]])
    )


def test_a_ragged_last_group_has_a_scale_of_its_own() -> None:
    rows = torch.tensor([[3.0, 1.4, -1.6, 0.2, 0.03, 0.014]])
    expected = torch.tensor([[3.0, 1.0, -2.0, 0.0, 0.03, 0.01]])
    torch.testing.assert_close(round_groups(rows, 3, 4), expected)
    torch.testing.assert_close(round_weight(rows, 3, GROUPS, FilterAxis()), expected)


def test_groups_of_a_whole_row_are_channels(generator: torch.Generator) -> None:
    rows = torch.randn(5, 9, generator=generator)
    for size in (9, 64):
        assert torch.equal(round_groups(rows, 4, size), round_rows(rows, 4))


@pytest.mark.parametrize(
    ("module", "where"),
    [
        (nn.ConvTranspose2d(4, 6, 3, groups=2), FilterAxis(1, 2)),
        (nn.ConvTranspose1d(4, 6, 3), FilterAxis(1)),
        (nn.Conv2d(4, 6, 3), FilterAxis()),
    ],
    ids=["transposed-by-group", "transposed", "convolution"],
)
def test_each_output_channel_is_on_a_grid_of_its_own(module: nn.Module, where: FilterAxis) -> None:
    weight = module.weight.detach()  # type: ignore[union-attr]
    rounded = round_weight(weight, 3, CHANNEL, where)
    assert rounded.shape == weight.shape
    for row, own in zip(filter_rows(rounded, where), filter_rows(weight, where), strict=True):
        assert len(torch.unique((3 * row / own.abs().max()).round(decimals=4))) <= 7
        assert (row - own).abs().max() <= own.abs().max() / 6 * 1.0001


@pytest.mark.parametrize("granularity", [TENSOR, CHANNEL, GROUPS], ids=["tensor", "channel", "group"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 5)], ids=["number", "vector", "matrix"])
def test_tensors_of_every_shape_are_rounded(granularity: Granularity, shape: tuple[int, ...]) -> None:
    weight = torch.linspace(-1, 1, 15)[: max(1, torch.Size(shape).numel())].reshape(shape)
    rounded = round_weight(weight, 8, granularity, FilterAxis())
    assert rounded.shape == weight.shape
    assert (rounded - weight).abs().max() <= 0.5 / 127 * 1.001


def test_a_share_of_lowest_scores_counts_whole_weights_and_takes_the_first_of_equal_ones() -> None:
    assert lowest(torch.tensor([2.0, 1.0, 1.0, 3.0, 1.0]), 0.4).tolist() == [False, True, True, False, False]
    assert int(lowest(torch.rand(7), 0.5).sum()) == round(3.5)


def test_pruning_sets_the_smallest_weights_of_each_layer_to_zero() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    nn.init.constant_(net[1].weight, 1e-3)  # a layer of small weights is pruned no more than others
    changes = vectors(TENSOR, net)
    moved = changes.objective.space.unflatten(changes.objective.theta + changes.all_layers(WeightChange(share=0.25)))
    for index, size in ((0, 20), (1, 12)):
        weight = net[index].weight.detach()
        zero = moved[f"{index}.weight"] == 0
        assert int(zero.sum()) == size // 4
        assert weight[zero].abs().max() <= weight[~zero].abs().min()
        assert torch.equal(moved[f"{index}.weight"][~zero], weight[~zero])
        assert torch.equal(moved[f"{index}.bias"], net[index].bias.detach())


def test_saliencies_choose_other_weights_than_magnitudes() -> None:
    net = nn.Linear(5, 3)
    scores = torch.arange(18).flip(0).double()
    moved = vectors(TENSOR, net, scores).all_layers(WeightChange(share=0.2))
    assert moved.nonzero().flatten().tolist() == [12, 13, 14]  # the last of 15 weights; biases do not move


def test_each_layer_may_change_in_its_own_way() -> None:
    changes = vectors(CHANNEL, nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)))
    four, eight = (changes.all_layers(WeightChange(bits=bits)) for bits in (4, 8))
    mixed = changes.mix([WeightChange(bits=4), WeightChange(bits=8)])
    assert torch.equal(mixed[:24], four[:24])
    assert torch.equal(mixed[24:], eight[24:])
