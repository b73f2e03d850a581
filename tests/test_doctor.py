"""Each check passes on a sound machine, and fails with a remedy where something is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from torch import Tensor, nn

import landscape
from landscape import doctor
from landscape.doctor import Check
from landscape.storage import provenance


def test_all_is_well_here(tmp_path: Path) -> None:
    sample = lambda: landscape.load(SAMPLES / "digits-resnet.pt", dtype="float64")  # noqa: E731
    checks = list(doctor.diagnose(tmp_path, sample))
    assert [check for check in checks if not check.passed] == []
    assert [check.name for check in checks] == [
        "versions",
        "libraries",
        "device",
        "writing",
        "derivatives of linear layers",
        "derivatives of convolution",
        "derivatives of normalization",
        "derivatives of attention",
        *(f"{name} of your model" for name in ("purity", "loss", "modes", "leaves", "gradient", "independence")),
        *(f"{name} of your model" for name in ("repetition", "slope", "precision", "curvature")),
        "several points in one pass",
        "a copy that moves",
        "samples one by one",
    ]
    assert list(tmp_path.iterdir()) == []
    assert doctor.summary(checks) == "all well"


@pytest.mark.parametrize(("version", "passed"), [("2.9.1", False), ("2.10.0+cpu", True), ("3.0", True), ("git", True)])
def test_an_old_torch_is_found(version: str, passed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "version_of", lambda package: version)
    check = doctor.check_versions()
    assert check.passed == passed
    assert "CVE-2026-24747" in check.fix


def test_a_torchvision_of_another_torch_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    check = doctor.check_libraries()
    assert not check.passed
    assert "torchvision cannot be imported: RuntimeError: operator torchvision::nms" in check.found
    assert "fits this torch" in check.fix


def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    check = doctor.check_writing(tmp_path / "none")
    assert not check.passed
    assert "cannot be written" in check.found
    assert check.fix


class WrongSecond(torch.autograd.Function):
    """x^3 whose first derivative is right and whose second is not."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)  # type: ignore[attr-defined]
        return x**3

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return slope * 3 * x * x.detach()


class OnlyOnce(WrongSecond):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: object, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return slope * 3 * x**2


class Custom(nn.Module):
    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function = nn.Linear(4, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(self.layer(x))  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (WrongSecond, "second derivative is not that of the gradient.*0.[0-9]+"),
        (OnlyOnce, "not .* used in the graph"),
    ],
    ids=["wrong", "once"],
)
def test_a_second_derivative_that_is_wrong_or_missing_is_found(
    function: type[torch.autograd.Function], found: str
) -> None:
    def make() -> landscape.Objective:
        return landscape.Objective(Custom(function), (torch.ones(5, 4), torch.arange(5) % 2), dtype="float64")

    failed = [check for check in doctor.check_model(make) if not check.passed]
    assert "curvature of your model" in doctor.summary(failed)
    check = next(check for check in failed if check.name == "curvature of your model")
    assert re.search(found, check.found)
    assert "--params" in check.fix


def test_a_checkpoint_that_cannot_be_loaded_is_a_finding(tmp_path: Path) -> None:
    (check,) = doctor.check_model(lambda: landscape.load(tmp_path / "none.pt"))
    assert check == Check("your model", False, f"there is no file {tmp_path}/none.pt", "check the path")
