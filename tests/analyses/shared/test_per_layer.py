"""Tables over groups of parameters."""

from __future__ import annotations

import numpy as np

from landscape.analyses.shared.per_layer import layer_table
from landscape.network.space import ParameterGroup


def group(name: str, begin: int, end: int) -> ParameterGroup:
    return ParameterGroup(name, (name,), ((begin, end),))


def test_groups_are_ordered_by_size_whatever_the_sign_and_equal_ones_keep_their_order() -> None:
    groups = [group("a", 0, 2), group("b", 2, 5), group("c", 5, 6), group("d", 6, 10)]
    values = np.array([1.0, -3.0, 1.0, 2.0])
    table = layer_table(groups, values, {"trace": values, "pair": np.arange(8).reshape(4, 2)})
    assert table["layer"].tolist() == ["b", "d", "a", "c"]
    assert table["layer_parameters"].tolist() == [3, 4, 2, 1]
    assert table["layer_trace"].tolist() == [-3.0, 2.0, 1.0, 1.0]
    assert table["layer_pair"].tolist() == [[2, 3], [6, 7], [0, 1], [4, 5]]


def test_names_are_text_that_hdf5_can_hold() -> None:
    assert layer_table([group("a", 0, 1)], np.ones(1), {})["layer"].dtype.kind == "U"
