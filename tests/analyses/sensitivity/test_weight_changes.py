"""Changes of weights by name, and which words and numbers name none."""

from __future__ import annotations

import math

import pytest

from landscape.analyses.sensitivity.weight_changes import Granularity, WeightChange, parse_bits, parse_shares
from landscape.errors import UsageError


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (WeightChange(bits=4), "4 bits"),
        (WeightChange(share=0.5), "prune 50%"),
        (WeightChange(share=0.005), "prune 0.5%"),
        (WeightChange(share=1 / 3), "prune 33.3333%"),
        (WeightChange(share=0.07), "prune 7%"),  # 100 x 0.07 is 7.000000000000001
    ],
    ids=["bits", "half", "small", "third", "binary"],
)
def test_a_change_is_named_by_what_it_does(change: WeightChange, name: str) -> None:
    assert change.name == name


@pytest.mark.parametrize(
    ("text", "granularity"),
    [
        ("tensor", Granularity()),
        (" Channel ", Granularity(by_channel=True)),
        ("group:1", Granularity(by_channel=True, group=1)),
        ("GROUP:128", Granularity(by_channel=True, group=128)),
    ],
    ids=["tensor", "channel", "group-of-one", "group"],
)
def test_the_weights_that_share_a_scale_have_names(text: str, granularity: Granularity) -> None:
    assert Granularity.parse(text) == granularity


@pytest.mark.parametrize(
    "text", ["", "group", "group:", "group:0", "group:-4", "group:4.5", "group:1234567890", "tensors"]
)
def test_other_words_name_no_granularity(text: str) -> None:
    with pytest.raises(UsageError, match=f"--granularity is {text}"):
        Granularity.parse(text)


def test_bits_and_shares_stand_once_in_the_order_given() -> None:
    assert parse_bits((4.0, 8, 4, 2)) == (4, 8, 2)
    assert all(type(one) is int for one in parse_bits((4.0, 8.0)))
    assert parse_shares((0.5, 0.25, 0.5)) == (0.5, 0.25)
    assert parse_bits(()) == parse_shares(()) == ()


@pytest.mark.parametrize("bits", [1, 17, 4.5, -8, math.inf, math.nan])
def test_a_grid_needs_whole_bits_that_it_can_have(bits: float) -> None:
    with pytest.raises(UsageError, match=f"--bits is {bits:g}"):
        parse_bits((8, bits))


@pytest.mark.parametrize("bits", [2, 16])
def test_the_fewest_and_the_most_bits_are_measured(bits: int) -> None:
    assert parse_bits((bits,)) == (bits,)


@pytest.mark.parametrize("share", [0, 1, -0.1, 50, math.nan])
def test_a_share_lies_between_nothing_and_everything(share: float) -> None:
    with pytest.raises(UsageError, match=f"--prune is {share:g}"):
        parse_shares((0.5, share))
