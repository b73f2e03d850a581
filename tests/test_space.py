"""Flat vectors and named tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import UsageError
from landscape.space import ParameterSpace

SHAPES = st.dictionaries(
    st.text("abc.", min_size=1, max_size=6), st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5
)


@given(SHAPES)
def test_flatten_and_unflatten_are_inverse(shapes: dict[str, tuple[int, ...]]) -> None:
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    space = ParameterSpace.of(tensors)
    theta = space.flatten(tensors)
    assert theta.shape == (space.size,)
    again = space.unflatten(theta)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_unflattened_tensors_are_views() -> None:
    space = ParameterSpace.of({"a": torch.zeros(2, 3), "b": torch.zeros(4)})
    theta = torch.zeros(10)
    space.unflatten(theta)["b"].fill_(7)
    assert theta.tolist() == [0] * 6 + [7] * 4


def test_globs_select_in_the_model_s_order() -> None:
    space = ParameterSpace.of({name: torch.zeros(1) for name in ("a.weight", "a.bias", "b.weight")})
    assert space.select(["b.*", "*.bias"]).names == ("a.bias", "b.weight")
    assert space.select([]).names == space.names


def test_a_glob_without_a_match_is_refused() -> None:
    space = ParameterSpace.of({"layer.weight": torch.zeros(1)})
    with pytest.raises(UsageError, match=r"no trainable parameter matches --params layer.wieght \(did you mean layer"):
        space.select(["*", "layer.wieght"])
