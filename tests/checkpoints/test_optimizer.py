"""The diagonal preconditioner in an Adam optimizer's state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

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


def trained_in_groups(*kinds: Callable[[Tensor], bool]) -> tuple[nn.Module, torch.optim.AdamW]:
    """A net and AdamW after two steps, with a group for the parameters of each kind."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    groups = [{"params": [p for p in net.parameters() if kind(p)]} for kind in kinds]
    adam = torch.optim.AdamW(groups, lr=0.01)
    for _ in range(2):
        adam.zero_grad()
        net(torch.randn(6, 3)).square().mean().backward()
        adam.step()
    return net, adam


def expected_divisors(net: nn.Module, adam: torch.optim.AdamW) -> dict[str, Tensor]:
    """By the parameters themselves, which the optimizer in memory knows."""
    return {
        name: (adam.state[p]["exp_avg_sq"].double() / (1 - 0.999 ** float(adam.state[p]["step"]))).sqrt() + 1e-8
        for name, p in net.named_parameters()
    }


def test_two_groups_without_names_are_told_by_the_shapes_of_their_parameters() -> None:
    """Matrices decay and vectors do not: the usual groups, whose numbers are in another order than the model's."""
    net, adam = trained_in_groups(lambda p: p.ndim > 1, lambda p: p.ndim == 1)
    found = adam_preconditioner(adam.state_dict(), dict(net.named_parameters()), "a.pt")
    expected = expected_divisors(net, adam)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], rtol=1e-6) for name in expected)


def test_groups_that_share_a_shape_are_refused() -> None:
    """The bias of the first layer has the shape of the norm's vectors, which are in another group."""
    net, adam = trained_in_groups(lambda p: p.ndim > 1, lambda p: p.ndim == 1)
    vectors = adam.state_dict()["param_groups"][1]["params"]
    groups = [dict(group) for group in adam.state_dict()["param_groups"]]
    groups[0]["params"], groups[1]["params"] = [*groups[0]["params"], vectors[0]], vectors[1:]
    state = {"state": adam.state_dict()["state"], "param_groups": groups}
    with pytest.raises(CheckpointError, match="does not tell which parameter is which"):
        adam_preconditioner(state, dict(net.named_parameters()), "a.pt")


def test_the_state_beside_a_model_of_the_trainer_is_found(tmp_path: Path) -> None:
    """A directory as `Trainer` leaves it: config.json, model.safetensors, optimizer.pt."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=16,
    )  # fmt: skip
    net = transformers.LlamaForCausalLM(config)
    groups = [{"params": [p for p in net.parameters() if (p.ndim > 1) == decays]} for decays in (True, False)]
    adam = torch.optim.AdamW(groups, lr=0.02, betas=(0.8, 0.999))
    ids = torch.arange(12).reshape(2, 6)
    net(input_ids=ids, labels=ids).loss.backward()
    adam.step()
    net.save_pretrained(tmp_path / "checkpoint-1")
    torch.save(adam.state_dict(), tmp_path / "checkpoint-1" / "optimizer.pt")
    checkpoint = read(tmp_path / "checkpoint-1")
    assert [(group["lr"], group["betas"]) for group in checkpoint.groups] == [(0.02, (0.8, 0.999))] * 2
    found = adam_preconditioner(checkpoint.optimizer(), dict(net.named_parameters()), "checkpoint-1")
    expected = expected_divisors(net, adam)
    assert all(torch.allclose(found[name], expected[name], rtol=1e-6) for name in expected)
    (tmp_path / "checkpoint-1" / "optimizer.pt").write_text("half a file")
    assert read(tmp_path / "checkpoint-1").groups == ()
