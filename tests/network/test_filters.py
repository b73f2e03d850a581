"""Where filters are, by kind of layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape.network.filters import FilterAxis, filter_axes, filter_norms, filter_rows, from_filter_rows
from landscape.network.space import ParameterSpace
from landscape.network.wrappers import trainable_parameters


def test_a_row_is_a_filter_of_linear_layers_and_convolutions() -> None:
    for module in (nn.Linear(4, 3), nn.Conv2d(2, 3, 3), nn.Conv1d(4, 6, 2, groups=2)):
        weight = module.weight.detach()
        norms = filter_norms(weight, FilterAxis())
        for row, norm in zip(weight, norms, strict=True):
            assert torch.allclose(norm, row.norm().expand_as(row))


@pytest.mark.parametrize(
    ("shape", "where"),
    [((6, 4, 3), FilterAxis()), ((4, 3, 2, 2), FilterAxis(1, 2)), ((4, 6), FilterAxis(1)), ((5,), FilterAxis())],
    ids=["convolution", "transposed-by-group", "inputs-first", "vector"],
)
def test_a_weight_follows_from_its_rows(shape: tuple[int, ...], where: FilterAxis) -> None:
    weight = torch.randn(shape)
    assert torch.equal(from_filter_rows(filter_rows(weight, where).clone(), shape, where), weight)


def test_transposed_convolutions_have_their_outputs_along_axis_1_by_group() -> None:
    module = nn.ConvTranspose2d(4, 6, 3, groups=2)  # weight (4, 3, 3, 3)
    axes = filter_axes(nn.Sequential(module))
    assert axes["0.weight"] == FilterAxis(1, 2)
    weight = module.weight.detach()
    norms = filter_norms(weight, axes["0.weight"])
    for group in range(2):
        for output in range(3):
            own = weight[2 * group : 2 * group + 2, output]
            assert torch.allclose(norms[2 * group : 2 * group + 2, output], own.norm().expand_as(own))


def test_scaling_an_output_scales_its_filter_alone() -> None:
    """The definition itself: the filter of an output channel is what that output depends on."""
    x = torch.randn(1, 4, 5, 5)
    for module in (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.Conv2d(4, 6, 3, groups=2, bias=False)):
        before = module(x)
        where = filter_axes(nn.Sequential(module)).get("0.weight", FilterAxis())
        norms = filter_norms(module.weight.detach(), where)
        chosen = norms == norms.flatten()[0]
        with torch.no_grad():
            module.weight[chosen] *= 3
        changed = (module(x) - before).abs().amax(dim=(0, 2, 3)) > 1e-6
        assert int(changed.sum()) == 1


def test_conv1d_of_transformers_is_turned_around() -> None:
    pytest.importorskip("transformers")
    from transformers.pytorch_utils import Conv1D

    module = Conv1D(6, 4)  # weight (4, 6)
    assert filter_axes(nn.Sequential(module))["0.weight"] == FilterAxis(1)
    norms = filter_norms(module.weight.detach(), FilterAxis(1))
    assert torch.allclose(norms[0], module.weight.detach().norm(dim=0))


def test_vectors_have_no_filters() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    space = ParameterSpace.of(trainable_parameters(model), filter_axes(model))
    theta = space.flatten(trainable_parameters(model)).detach()
    named = space.unflatten(space.filter_norms(theta))
    assert torch.equal(named["0.bias"], model[0].bias.detach().abs())  # type: ignore[operator]
    assert torch.equal(named["1.weight"], torch.ones(3))


def test_a_user_s_own_conv1d_is_a_convolution() -> None:
    class Conv1D(nn.Conv1d):
        pass

    assert not filter_axes(nn.Sequential(Conv1D(2, 3, 1)))


def test_parametrized_transposed_convolutions_keep_their_axis() -> None:
    module = nn.utils.parametrizations.spectral_norm(nn.ConvTranspose1d(2, 3, 4))
    names = [name for name, _ in nn.Sequential(module).named_parameters()]
    axes = filter_axes(nn.Sequential(module))
    assert axes["0.parametrizations.weight.original"] == FilterAxis(1)
    assert "0.parametrizations.weight.original" in names
