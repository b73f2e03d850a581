"""Values that are made when they are asked for."""

from __future__ import annotations

import pytest

from landscape.evaluation.layers.on_demand import OnDemand


def test_a_value_is_made_at_each_access_and_only_then() -> None:
    made: list[str] = []

    def length(name: str) -> int:
        made.append(name)
        return len(name)

    values = OnDemand(["ab", "c"], length)
    assert (list(values), len(values), "c" in values) == (["ab", "c"], 2, True)
    assert made == []
    assert dict(values) == {"ab": 2, "c": 1}
    assert values["c"] == 1
    assert made == ["ab", "c", "c"]


def test_an_unknown_name_has_no_value() -> None:
    values = OnDemand(["ab"], len)
    assert "abc" not in values
    with pytest.raises(KeyError, match="abc"):
        values["abc"]
