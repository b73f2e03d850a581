"""TF32 is off while something is measured, and as the user left it afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Eig, Objective
from landscape.compute.precision import full_precision
from landscape.compute.strategy import ProductSettings
from landscape.objective.batch_loss import BatchLoss
from landscape.operators import HessianOperator

CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul
SETTINGS = CUDNN.conv, CUDNN.rnn, MATMUL


@pytest.fixture(params=["older", "newer", "matmul only"])
def chosen(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The user has switched TF32 on, in either of torch's spellings."""
    before = [setting.fp32_precision for setting in SETTINGS]
    if request.param == "older":
        CUDNN.allow_tf32 = MATMUL.allow_tf32 = True
    elif request.param == "newer":
        for setting in SETTINGS:
            setting.fp32_precision = "tf32"
    else:
        torch.set_float32_matmul_precision("high")
    yield [setting.fp32_precision for setting in SETTINGS]
    torch.set_float32_matmul_precision("highest")
    CUDNN.allow_tf32, MATMUL.allow_tf32 = True, False
    for setting, precision in zip(SETTINGS, before, strict=True):
        setting.fp32_precision = precision


def legacy() -> tuple[bool, bool] | None:
    """The older spelling, where torch lets it be read."""
    try:
        return CUDNN.allow_tf32, MATMUL.allow_tf32
    except RuntimeError:
        return None


def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool]]:
    found = []
    original = BatchLoss.model_output

    def watching(self: BatchLoss, theta: Tensor, batch: object) -> object:
        found.append((CUDNN.allow_tf32, MATMUL.allow_tf32))
        with CUDNN.flags(enabled=False):  # as models do whose recurrent layers are differentiated twice
            return original(self, theta, batch)

    monkeypatch.setattr(BatchLoss, "model_output", watching)
    return found


@pytest.mark.parametrize("asked", [False, True])
def test_passes_are_in_full_precision_unless_asked(
    classification: tuple[Tensor, Tensor], chosen: list[str], monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    found, before = seen(monkeypatch), legacy()
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=ProductSettings(tf32=asked))
    HessianOperator(objective) @ objective.theta
    landscape.run(Eig(k=1), objective)
    assert found
    assert set(found) == {(asked, asked)}
    assert before is None or legacy() == before
    assert [setting.fp32_precision for setting in SETTINGS] == chosen


@pytest.mark.parametrize(("device", "apart"), [("cpu", set()), ("cuda", {"dtype"})])
def test_what_is_measured_in_tf32_is_another_number_on_cuda(
    classification: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, device: str, apart: set[str]
) -> None:
    found = []
    for tf32 in (False, True):
        objective = Objective(tanh_net(), [classification], "cross_entropy", settings=ProductSettings(tf32=tf32))
        monkeypatch.setattr(objective, "device", torch.device(device))
        found.append(objective.identity())
    assert {key for key in found[0] if found[0][key] != found[1][key]} == apart


def test_of_nested_blocks_the_inner_one_decides_and_the_user_s_settings_come_back(chosen: list[str]) -> None:
    before = legacy()
    with full_precision(tf32=False):
        with full_precision(tf32=True):
            assert (CUDNN.allow_tf32, MATMUL.allow_tf32) == (True, True)
        assert (CUDNN.allow_tf32, MATMUL.allow_tf32) == (False, False)
    assert before is None or legacy() == before
    assert [setting.fp32_precision for setting in SETTINGS] == chosen
