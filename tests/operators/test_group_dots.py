"""Inner products on groups of parameters against masks, whole products and sums by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.network.space import ParameterGroup, ParameterSpace
from landscape.operators.group_dots import group_dots

SPACE = ParameterSpace.of({"a.weight": torch.zeros(2, 3), "b.weight": torch.zeros(4), "a.bias": torch.zeros(2)})


def pair(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(12, 5, generator=generator, dtype=dtype) for _ in range(2))
    return left, right


def mask(group: ParameterGroup) -> Tensor:
    """Ones at the group's coordinates `(12, 1)`."""
    ones = torch.zeros(12, 1, dtype=torch.float64)
    for begin, end in group.ranges:
        ones[begin:end] = 1
    return ones


def test_each_group_has_the_products_of_its_coordinates() -> None:
    left, right = pair()
    groups = SPACE.layers()
    assert groups[0].ranges == ((0, 6), (10, 12))  # a module in two pieces
    found = group_dots(groups, left, right)
    expected = torch.stack([(mask(group) * left * right).sum(dim=0) for group in groups])
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    assert found.shape == (2, 5)


def test_groups_that_are_all_parameters_add_up_to_the_whole_product() -> None:
    left, right = pair()
    whole = group_dots([SPACE.whole_group()], left, right)[0]
    torch.testing.assert_close(whole, (left * right).sum(dim=0), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(group_dots(SPACE.layers(), left, right).sum(dim=0), whole, rtol=1e-13, atol=1e-13)


def test_float32_is_summed_in_float64() -> None:
    left = torch.ones(12, 1)
    left[0] = 2.0**24  # beside which float32 loses each of the other ones
    found = group_dots([SPACE.whole_group()], left, torch.ones(12, 1))
    assert found.dtype == torch.float64
    assert found.tolist() == [[2.0**24 + 11]]


def test_columns_may_be_one_vector_that_is_expanded() -> None:
    left, right = pair()
    repeated = right[:, :1].expand(-1, 5)
    assert torch.equal(group_dots(SPACE.layers(), left, repeated), group_dots(SPACE.layers(), left, repeated.clone()))
