"""The diagonal preconditioner in an Adam optimizer's state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from landscape.checkpoints import read
from landscape.checkpoints.inspection import inspect
from landscape.checkpoints.optimizer import adam_preconditioner
from landscape.errors import CheckpointError


def test_amsgrad_divides_by_the_largest_second_moment() -> None:
    moments = {"step": torch.tensor(2.0), "exp_avg_sq": torch.ones(3), "max_exp_avg_sq": torch.full((3,), 4.0)}
    state = {
        "state": {0: moments},
        "param_groups": [{"params": [0], "betas": (0.9, 0.5), "amsgrad": True, "eps": 0.25}],
    }
    found = adam_preconditioner(state, {"w": torch.zeros(3)}, "a.pt")
    assert torch.allclose(found["w"], torch.full((3,), (4 / 0.75) ** 0.5 + 0.25, dtype=torch.float64))


def test_a_parameter_that_never_had_a_gradient_is_left_out() -> None:
    moments = {"step": 1, "exp_avg_sq": torch.ones(3)}
    state = {
        "state": {1: moments},
        "param_groups": [{"params": [0, 1], "betas": (0.9, 0.5), "amsgrad": True, "eps": 0.0}],
    }
    found = adam_preconditioner(state, {"frozen": torch.zeros(2), "w": torch.zeros(3)}, "a.pt")
    assert list(found) == ["w"]


def test_a_compiled_model_s_names_are_unwrapped() -> None:
    moments = {"step": 1, "exp_avg_sq": torch.ones(3)}
    group = {"params": [0], "param_names": ["_orig_mod.w"], "betas": (0.9, 0.5), "amsgrad": False, "eps": 0.0}
    found = adam_preconditioner({"state": {0: moments}, "param_groups": [group]}, {"w": torch.zeros(3)}, "a.pt")
    assert list(found) == ["w"]


@pytest.mark.parametrize("named", [False, True], ids=["by-order", "by-name"])
def test_the_diagonal_is_the_square_root_of_the_unbiased_second_moment_plus_eps(named: bool) -> None:
    """Two steps with gradients g and 2 g: v_hat = ((1 - b) (b g^2 + 4 g^2)) / (1 - b^2) = (b + 4) g^2 / (1 + b)."""
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    given = [("w", parameter)] if named else [parameter]
    adam = torch.optim.Adam(given, betas=(0.5, 0.75), eps=0.125)  # type: ignore[arg-type]
    gradient = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    for factor in (1, 2):
        parameter.grad = factor * gradient
        adam.step()
    found = adam_preconditioner(adam.state_dict(), {"w": parameter}, "a.pt")
    expected = ((0.75 + 4) / (1 + 0.75)) ** 0.5 * gradient.abs() + 0.125
    assert torch.allclose(found["w"], expected, rtol=1e-12)


def test_without_a_state_the_places_that_were_searched_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"a.pt holds no optimizer state.*\n.*optimizer_states.*\n.*--precond"):
        adam_preconditioner(None, {}, "a.pt")


def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    return model, adam


@pytest.mark.parametrize(
    "content",
    [
        lambda state: {"opt_g": state},
        lambda state: {"solver": {"inner": state}},
        lambda state: {"optimizer_states": [state]},
        lambda state: {"trainer": {"optimizers": [state]}},
        lambda state: {"optimizer": {"AdamW": state}},
    ],
    ids=["name", "nested", "list", "nested-list", "by-class"],
)
def test_an_optimizer_is_known_by_its_form(content: Any, tmp_path: Path) -> None:
    model, adam = trained()
    torch.save({"weights": model.state_dict(), **content(adam.state_dict())}, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.tensors.keys() == model.state_dict().keys()
    assert inspect(tmp_path / "a.pt").optimizer
    found = adam_preconditioner(checkpoint.optimizer(), dict(model.named_parameters()), "a.pt")
    assert torch.allclose(found["bias"], torch.full((2,), 1 + 1e-8, dtype=torch.float64))


def test_of_several_optimizers_none_is_taken(tmp_path: Path) -> None:
    model, adam = trained()
    torch.save({"model": model.state_dict(), "g": adam.state_dict(), "d": adam.state_dict()}, tmp_path / "a.pt")
    assert not inspect(tmp_path / "a.pt").optimizer
    with pytest.raises(CheckpointError, match=r"states of 2 optimizers: .*\n.*--preconditioner FILE"):
        read(tmp_path / "a.pt").optimizer()
