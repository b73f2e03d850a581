"""Sets of weights, and objects in their places, are found where training scripts put them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from landscape.checkpoints.formats.detection import describe
from landscape.checkpoints.formats.pickle_values import OpaqueValue
from landscape.checkpoints.weight_sets import (
    MAX_OBJECTS,
    find_objects,
    find_weight_sets,
    kind_with_article,
    optimizer_state,
)

RAW = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}


def locations(content: Any, folder: Path) -> list[str]:
    torch.save(content, folder / "a.pt")
    return [weight_set.location for weight_set in find_weight_sets(describe(folder / "a.pt").tree)]


def test_sets_at_usual_locations_come_first(tmp_path: Path) -> None:
    assert locations({name: dict(RAW) for name in ("zebra", "model", "state_dict")}, tmp_path) == [
        "state_dict",
        "model",
        "zebra",
    ]


def test_sets_are_found_four_dictionaries_deep(tmp_path: Path) -> None:
    assert locations({"a": {"b": {"c": {"d": RAW}}}}, tmp_path) == ["a.b.c.d"]


def test_an_optimizer_is_no_set_of_weights(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    adam.step()
    content = {"model": model.state_dict(), "optimizer": adam.state_dict()}
    assert locations(content, tmp_path) == ["model"]
    assert optimizer_state(content) == adam.state_dict()


def test_an_optimizer_whose_state_is_by_name_is_none_either(tmp_path: Path) -> None:
    """As those of sharded models."""
    state = {"weight": {"exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}}
    content = {"net_a": RAW, "solver": {"state": state, "param_groups": [{"lr": 0.1}]}}
    assert locations(content, tmp_path) == ["net_a"]


def test_few_objects_are_searched() -> None:
    tree = {f"k{number}": {"model": OpaqueValue("a.B")} for number in range(1000)}
    assert find_objects(tree) == {}
    assert MAX_OBJECTS < 100


@pytest.mark.parametrize(
    ("value", "words"), [({}, "a dict"), (1, "an int"), (OpaqueValue("omega.Conf"), "an omega.Conf")]
)
def test_a_value_s_kind_has_its_article(value: Any, words: str) -> None:
    assert kind_with_article(value) == words
