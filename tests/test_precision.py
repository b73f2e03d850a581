"""TF32 is off while something is measured, and as the user left it afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Eig, Objective
from landscape.engine import Engine
from landscape.operators import HessianOperator

SETTINGS = torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul


@pytest.fixture
def chosen() -> Iterator[list[str]]:
    """The user has switched TF32 on."""
    before = [setting.fp32_precision for setting in SETTINGS]
    for setting in SETTINGS:
        setting.fp32_precision = "tf32"
    yield ["tf32"] * 3
    for setting, precision in zip(SETTINGS, before, strict=True):
        setting.fp32_precision = precision


def seen(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    found = []
    original = Objective.whole_output

    def watching(self: Objective, theta: Tensor, batch: object) -> object:
        found.append([setting.fp32_precision for setting in SETTINGS])
        return original(self, theta, batch)

    monkeypatch.setattr(Objective, "whole_output", watching)
    return found


@pytest.mark.parametrize(("asked", "used"), [(False, "ieee"), (True, "tf32")])
def test_passes_are_in_full_precision_unless_asked(
    classification: tuple[Tensor, Tensor], chosen: list[str], monkeypatch: pytest.MonkeyPatch, asked: bool, used: str
) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", engine=Engine(tf32=asked))
    found = seen(objective, monkeypatch)
    HessianOperator(objective) @ objective.theta
    landscape.run(Eig(k=1), objective)
    assert found
    assert all(settings == [used] * 3 for settings in found)
    assert [setting.fp32_precision for setting in SETTINGS] == chosen


def test_what_is_measured_in_tf32_is_another_number(classification: tuple[Tensor, Tensor]) -> None:
    plain, rough = (
        Objective(tanh_net(), [classification], "cross_entropy", engine=Engine(tf32=tf32)).identity()
        for tf32 in (False, True)
    )
    assert {key for key in plain if plain[key] != rough[key]} == {"dtype"}
