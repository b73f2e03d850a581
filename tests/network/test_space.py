"""Flat vectors and named tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import UsageError
from landscape.network.space import ParameterGroup, ParameterSpace

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


NAMES = {
    "stem.weight": (4, 2), "stem.bias": (4,), "body.0.parametrizations.weight.original0": (1,),
    "body.0.parametrizations.weight.original1": (3,), "stem.scale": (), "shift": (2,), "empty.weight": (0, 3),
}  # fmt: skip


def test_every_module_that_owns_parameters_is_a_layer() -> None:
    space = ParameterSpace.of({name: torch.zeros(shape) for name, shape in NAMES.items()})
    layers = {group.name: group for group in space.layers()}
    assert list(layers) == ["stem", "body.0", "(model)"]  # what is empty has no curvature
    assert layers["stem"].ranges == ((0, 12), (16, 17))
    assert layers["body.0"].names == tuple(name for name in NAMES if "original" in name)
    assert layers["(model)"].size == 2
    assert sum(group.size for group in layers.values()) == space.size == space.whole_group().size


def test_layers_of_some_parameters_hold_these_alone() -> None:
    space = ParameterSpace.of({name: torch.zeros(shape) for name, shape in NAMES.items()})
    layers = space.layers({"stem.weight", "stem.scale", "body.0.parametrizations.weight.original1"})
    assert [(group.name, group.ranges) for group in layers] == [("stem", ((0, 8), (16, 17))), ("body.0", ((13, 16),))]
    assert layers[0].names == ("stem.weight", "stem.scale")


def test_a_group_s_views_are_its_coordinates() -> None:
    vector = torch.arange(10)
    group = ParameterGroup("a", (), ((1, 3), (7, 8)))
    assert [piece.tolist() for piece in group.of(vector)] == [[1, 2], [7]]
    group.of(vector)[1].fill_(0)
    assert vector[7] == 0


def test_blocks_match_parameters_and_modules() -> None:
    space = ParameterSpace.of({name: torch.zeros(shape) for name, shape in NAMES.items()})
    stem, original = space.groups_matching(("stem", "*.original1"))
    assert stem.names == ("stem.weight", "stem.bias", "stem.scale")
    assert original.ranges == ((13, 16),)


@pytest.mark.parametrize(("globs", "message"), [(("nil*",), "no trainable"), (("stem", "*.bias"), "stem.bias")])
def test_blocks_that_match_nothing_or_overlap_are_refused(globs: tuple[str, ...], message: str) -> None:
    space = ParameterSpace.of({name: torch.zeros(shape) for name, shape in NAMES.items()})
    with pytest.raises(UsageError, match=message):
        space.groups_matching(globs)


def test_globs_choose_coordinates_and_an_exclamation_mark_turns_them_round() -> None:
    space = ParameterSpace.of({"a.weight": torch.zeros(2, 2), "a.bias": torch.zeros(2), "cls": torch.zeros(1)})
    assert space.mask(("*.bias",), "--fixed").tolist() == [False] * 4 + [True] * 2 + [False]
    assert space.mask(("!*weight*",), "--unscaled").tolist() == [False] * 4 + [True] * 3
    assert not space.mask((), "--fixed").any()
    with pytest.raises(UsageError, match=r"matches --fixed \*\.wieght"):
        space.mask(("*.wieght",), "--fixed")
