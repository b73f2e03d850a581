"""Options that all analyses of a curvature matrix share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.analyses.shared.curvature import Curvature, Resampled
from landscape.errors import UsageError


@dataclass(frozen=True)
class Plain(Curvature):
    pass


@pytest.fixture
def objective(classification: tuple[Tensor, Tensor]) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, []),
        ({"per_layer": True}, ["0", "2"]),
        ({"blocks": ("*.weight",)}, ["*.weight"]),
        ({"blocks": ("0.*", "2.bias")}, ["0.*", "2.bias"]),
    ],
    ids=["none", "per-layer", "glob", "globs"],
)
def test_groups_are_those_that_the_options_name(objective: Objective, options: Any, names: list[str]) -> None:
    assert [group.name for group in Plain(**options).groups(objective)] == names


def test_layers_and_blocks_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="two ways of choosing"):
        Plain(per_layer=True, blocks=("0.*",))


def test_one_group_of_samples_leaves_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="leaves nothing to compare"):
        Resampled(resample=1)


def test_the_preconditioner_is_part_of_what_decides_the_result(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Plain().ingredients(objective) == {}
    diagonal = torch.arange(1, objective.space.size + 1, dtype=torch.float32)
    monkeypatch.setattr(type(objective), "preconditioner", diagonal)
    expected = hashlib.sha256(np.arange(1, objective.space.size + 1, dtype=np.float32).tobytes()).hexdigest()
    assert Plain(operator="preconditioned").ingredients(objective) == {"preconditioner": expected}
