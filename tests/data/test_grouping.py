"""Samples by their class or a column: which ones, under which names, and what is no column."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.data.grouping import group_samples, has_column
from landscape.data.survey import Batches, survey
from landscape.errors import TaskError, UsageError

X = torch.arange(6.0)[:, None]
Y = torch.tensor([2, 0, 2, 1, 0, 2])
WORDS = ["web", "book", "web", "web", "book", "web"]


def surveyed(source: Any, *, as_items: bool = False) -> Batches:
    return survey(source, device=torch.device("cpu"), dtype=torch.float32, budget=1 << 20, as_items=as_items)


def split(item: dict[str, Any], sizes: tuple[int, ...] = (4, 2)) -> list[dict[str, Any]]:
    """A dictionary of six rows in batches."""
    return [{k: v[a:b] for k, v in item.items()} for a, b in pairwise([0, *np.cumsum(sizes)])]


def rows(group: Any) -> list[float]:
    """The first column of the inputs of a group of samples."""
    parts = [b.inputs for b in group]
    tensors = [p if isinstance(p, Tensor) else p["x"] if isinstance(p, dict) else p[0] for p in parts]
    return torch.cat(tensors)[:, 0].tolist()


def test_classes_are_those_of_the_targets() -> None:
    groups = group_samples(surveyed([(X[:4], Y[:4]), (X[4:], Y[4:])]), "class")
    assert {name: rows(group) for name, group in groups.items()} == {
        "class-0": [1, 4],
        "class-1": [3],
        "class-2": [0, 2, 5],
    }
    assert [batch.targets.tolist() for batch in groups["class-2"]] == [[2, 2], [2]]


@pytest.mark.parametrize("item", [(X, Y), [X, Y], {"x": X, "labels": Y}, {"x": X, "y": Y}], ids=str)
def test_classes_of_items_as_they_are(item: Any) -> None:
    assert rows(group_samples(surveyed([item], as_items=True), "class")["class-0"]) == [1, 4]


@pytest.mark.parametrize("words", [WORDS, np.array(WORDS)], ids=["list", "array"])
@pytest.mark.parametrize("as_items", [False, True])
def test_words_of_a_column_are_names_themselves(words: Any, as_items: bool) -> None:
    groups = group_samples(surveyed(split({"x": X, "labels": Y, "domain": words}), as_items=as_items), "domain")
    assert {name: rows(group) for name, group in groups.items()} == {"book": [1, 4], "web": [0, 2, 3, 5]}
    assert [list(batch.inputs["domain"]) for batch in groups["book"]] == [["book"], ["book"]]


@pytest.mark.parametrize("numbers", [Y, Y[:, None], Y.tolist(), Y.float(), tuple(Y.tolist())], ids=str)
def test_numbers_follow_the_name_of_their_column(numbers: Any) -> None:
    groups = group_samples(surveyed([{"x": X, "source": numbers}], as_items=True), "source")
    assert {name: rows(group) for name, group in groups.items()} == {
        "source-0": [1, 4],
        "source-1": [3],
        "source-2": [0, 2, 5],
    }


def test_a_place_in_a_tuple_is_a_column() -> None:
    groups = group_samples(surveyed([(X, Y, WORDS)], as_items=True), "2")
    assert list(groups) == ["book", "web"]
    assert has_column(surveyed([(X, Y, WORDS)], as_items=True), "2")
    assert not has_column(surveyed([(X, Y)]), "2")


def test_units_have_one_value_each() -> None:
    graphs = [
        {"x": X[:n], "edges": torch.zeros(2, 9), "domain": "ab"[n % 2], "label": torch.tensor([n % 2])}
        for n in (2, 3, 4)
    ]
    batches = surveyed(graphs, as_items=True)
    assert {name: [len(b.inputs["x"]) for b in group] for name, group in group_samples(batches, "domain").items()} == {
        "a": [2, 4],
        "b": [3],
    }
    assert list(group_samples(batches, "class")) == ["class-0", "class-1"]
    with pytest.raises(UsageError, match=r"a batch, which is one unit, needs one word.*\n.*one of domain, label"):
        group_samples(batches, "x")


class TestWhatIsNoColumn:
    def test_targets_that_are_no_classes(self) -> None:
        for targets in (X, torch.zeros(6, 4, dtype=torch.long)):
            with pytest.raises(TaskError, match=r"one class for each sample, and the targets are \(6, "):
                group_samples(surveyed([(X, targets)]), "class")

    def test_a_name_that_is_not_there(self) -> None:
        data = surveyed([{"x": X, "labels": Y, "domain": WORDS}])
        with pytest.raises(UsageError, match=r"no column of that name\n.*one of .*domain"):
            group_samples(data, "topic")
        with pytest.raises(UsageError, match=r"no column of that name\n.*--by class, or dictionaries"):
            group_samples(surveyed([(X, Y)]), "topic")

    def test_a_number_for_each_sample_is_no_class(self) -> None:
        many = torch.arange(101)
        with pytest.raises(UsageError, match=r"more than 100 values"):
            group_samples(surveyed([(torch.zeros(101, 2), many)]), "class")
        assert len(group_samples(surveyed([(torch.zeros(100, 2), many[:100])]), "class")) == 100

    def test_two_values_with_one_name(self) -> None:
        with pytest.raises(UsageError, match="two values have the same name"):
            group_samples(surveyed([{"x": X[:2], "n": [1, "n-1"]}], as_items=True), "n")
