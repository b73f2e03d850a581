"""The preconditioned Hessian against its dense form, and Adam's diagonal against Adam's own steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from operator_contract import OperatorContract
from oracles.dense import dense_hessian
from torch import Tensor

import landscape
from landscape import Eig, Objective
from landscape.errors import CheckpointError, NumericalError, UsageError
from landscape.operators import HessianOperator, LinearOperator, PreconditionedOperator, operator

Data = tuple[Tensor, Tensor]


def positive(objective: Objective) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {b.name: torch.rand(b.shape, generator=generator, dtype=torch.float64) + 0.1 for b in objective.space.blocks}


class TestPreconditioned(OperatorContract):
    tolerance = 1e-12

    @pytest.fixture
    def objective(self, classification: Data, split: Splitter) -> Objective:
        batches = split(*classification)
        diagonal = positive(Objective(tanh_net(), batches, "cross_entropy"))
        return Objective(tanh_net(), batches, "cross_entropy", dtype="float64", preconditioner=diagonal)

    @pytest.fixture
    def operator(self, objective: Objective) -> LinearOperator:
        return operator("preconditioned", objective)

    @pytest.fixture
    def dense(self, classification: Data, objective: Objective) -> Tensor:
        root = objective.space.flatten(positive(objective)).sqrt()
        return dense_hessian(tanh_net(), [classification]) / root[:, None] / root[None, :]


def trained(path: Path, classification: Data, optimizer: Any, nest: str = "optimizer", **options: Any) -> Any:
    """A net after five steps, saved with its optimizer's state."""
    torch.manual_seed(1)
    model = tanh_net()
    given = model.named_parameters() if options.pop("named", False) else model.parameters()
    adam = optimizer(options.pop("groups", lambda p: list(p))(given), lr=0.01, **options)
    for _ in range(5):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(model(classification[0]), classification[1]).backward()
        adam.step()
    state = adam.state_dict()
    torch.save({"model": model.state_dict(), nest: [state] if nest == "optimizer_states" else state}, path)
    return model, adam


@pytest.fixture
def factory(tmp_path: Path, classification: Data, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.save(classification, tmp_path / "data.pt")
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def build():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))\n"
        "def data():\n"
        "    return torch.load('data.pt')\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


TASK = {"model": "net.py:build", "data": "net.py:data", "loss": "cross_entropy", "dtype": "float64"}


@pytest.mark.parametrize("nest", ["optimizer", "optimizer_state_dict", "optimizer_states"])
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"named": True}], ids=["adam", "amsgrad", "named"])
def test_the_diagonal_is_what_adam_divides_by(
    factory: Path, classification: Data, nest: str, options: dict[str, Any]
) -> None:
    """With gradients of zero from here on and no first moment, the next step would be lr m_hat / P: read P from it."""
    model, adam = trained(factory / "a.pt", classification, torch.optim.Adam, nest, eps=1e-3, **options)
    diagonal = landscape.load("a.pt", **TASK).preconditioner
    before = [p.detach().clone().double() for p in model.parameters()]
    expected = []
    for p in model.parameters():
        state = adam.state[p]
        # one more step with gradient g = 0 decays both moments; undo that by setting them for the next step number
        state["exp_avg"].fill_(1.0 / 0.9)
        state["exp_avg_sq"].div_(0.999)
        p.grad = torch.zeros_like(p)
        step = int(state["step"]) + 1
        moved_by = 0.01 / (1 - 0.9**step)
        second = state["max_exp_avg_sq"] if "max_exp_avg_sq" in state else state["exp_avg_sq"] * 0.999
        correct = (1 - 0.999 ** (step - 1)) / (1 - 0.999**step)  # Adam's own bias correction is one step ahead
        expected.append((moved_by, second, correct))
    adam.step()
    moved = torch.cat([(b - p.detach().double()).reshape(-1) for b, p in zip(before, model.parameters(), strict=True)])
    rate = expected[0][0]
    divided = rate / moved  # sqrt(v / (1 - b2^(t+1))) + eps, where the checkpoint has 1 - b2^t
    ours = (diagonal - 1e-3) * expected[0][2] ** 0.5 + 1e-3
    assert torch.allclose(ours, divided, rtol=2e-3)  # the parameters are float32: the move of 1e-2 is known to 1e-5


def test_eig_takes_the_operator_from_the_command_line_s_names(factory: Path, classification: Data) -> None:
    trained(factory / "a.pt", classification, torch.optim.Adam)
    objective = landscape.load("a.pt", **TASK)
    result = landscape.run(Eig(k=2, operator="preconditioned"), objective)
    root = objective.preconditioner.sqrt()
    dense = HessianOperator(objective).to_dense() / root[:, None] / root[None, :]
    assert result.eigenvalues[0] == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-6)


def test_a_saved_diagonal_takes_the_place_of_adam_s(factory: Path, classification: Data) -> None:
    model, _ = trained(factory / "a.pt", classification, torch.optim.SGD)
    torch.save({f"module.{n}": torch.full_like(p, 4.0) for n, p in model.named_parameters()}, "diagonal.pt")
    plain = landscape.run(Eig(k=1), landscape.load("a.pt", **TASK)).eigenvalues[0]
    objective = landscape.load("a.pt", preconditioner="diagonal.pt", **TASK)
    assert landscape.run(Eig(k=1, operator="preconditioned"), objective).eigenvalues[0] == pytest.approx(plain / 4)


def test_two_diagonals_are_two_runs(factory: Path, classification: Data) -> None:
    model, _ = trained(factory / "a.pt", classification, torch.optim.SGD)
    digests = set()
    for value in (1.0, 2.0):
        torch.save({n: torch.full_like(p, value) for n, p in model.named_parameters()}, "diagonal.pt")
        objective = landscape.load("a.pt", preconditioner="diagonal.pt", **TASK)
        digests.add(landscape.session.execute(Eig(k=1, operator="preconditioned"), objective).attributes["fingerprint"])
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (torch.optim.SGD, {"momentum": 0.9}, "not Adam's"),
        (torch.optim.Adam, {"groups": lambda p: list(p)[1:]}, "does not tell which"),
    ],
    ids=["sgd", "not-all-parameters"],
)
def test_a_state_that_does_not_tell_is_refused(
    factory: Path, classification: Data, optimizer: Any, options: dict[str, Any], message: str
) -> None:
    trained(factory / "a.pt", classification, optimizer, **options)
    with pytest.raises(CheckpointError, match=message):
        landscape.run(Eig(k=1, operator="preconditioned"), landscape.load("a.pt", **TASK))


def test_a_checkpoint_without_a_state_names_the_flag(factory: Path) -> None:
    torch.save(tanh_net().state_dict(), "a.pt")
    with pytest.raises(CheckpointError, match=r"no optimizer state[\s\S]*--preconditioner"):
        landscape.run(Eig(k=1, operator="preconditioned"), landscape.load("a.pt", **TASK))


def test_parameters_without_a_diagonal_are_named(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], preconditioner={"0.weight": torch.ones(4, 5)})
    with pytest.raises(UsageError, match="0.bias, 2.weight, 2.bias"):
        operator("preconditioned", objective)
    one = Objective(tanh_net(), [classification], params=("0.weight",), preconditioner={"0.weight": torch.ones(4, 5)})
    assert torch.equal(operator("preconditioned", one) @ one.theta, HessianOperator(one) @ one.theta)
    with pytest.raises(UsageError, match="no preconditioner is known"):
        operator("preconditioned", Objective(tanh_net(), [classification]))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_diagonal_that_is_not_positive_is_refused(classification: Data, bad: float) -> None:
    objective = Objective(tanh_net(), [classification])
    diagonal = torch.ones(39)
    diagonal[7] = bad
    with pytest.raises(NumericalError, match="1 of 39"):
        PreconditionedOperator(HessianOperator(objective), diagonal)


def test_a_function_preserving_rescaling_transforms_the_hessian_as_the_law_says(classification: Data) -> None:
    """w' = S w gives H' = S^-1 H S^-1: with ReLU, scaling a unit's inputs by s and its outputs by 1/s."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).double()
    before = Objective(model, [classification], "cross_entropy", dtype="float64")
    dense, old = HessianOperator(before).to_dense(), before.theta.clone()
    s = torch.tensor([0.1, 0.5, 3.0, 20.0], dtype=torch.float64)
    with torch.no_grad():
        model[0].weight *= s[:, None]
        model[0].bias *= s
        model[2].weight /= s[None, :]
    after = Objective(model, [classification], "cross_entropy", dtype="float64")
    scale = after.theta / old
    law = dense / scale[:, None] / scale[None, :]
    rescaled = HessianOperator(after).to_dense()
    assert float((rescaled - law).abs().max() / law.abs().max()) < 1e-10
    preconditioned = PreconditionedOperator(HessianOperator(before), scale**2).to_dense()
    assert float((rescaled - preconditioned).abs().max() / law.abs().max()) < 1e-10


@pytest.mark.parametrize("optimizer", [torch.optim.RAdam, torch.optim.NAdam, torch.optim.Adagrad])
def test_other_optimizers_are_not_taken_for_adam(factory: Path, classification: Data, optimizer: Any) -> None:
    trained(factory / "a.pt", classification, optimizer)
    with pytest.raises(CheckpointError, match="not Adam's"):
        landscape.run(Eig(k=1, operator="preconditioned"), landscape.load("a.pt", **TASK))


def test_entries_next_to_zero_are_noted_in_the_result_and_the_objective_s_notes_stay(classification: Data) -> None:
    net = tanh_net()
    diagonal = {name: torch.ones_like(p) for name, p in net.named_parameters()}
    diagonal["0.bias"][1] = 1e-9
    objective = Objective(net, [classification], "cross_entropy", preconditioner=diagonal)
    before = objective.notes
    plain, scaled = (
        landscape.run(landscape.Eig(k=1, operator=name), objective) for name in ("hessian", "preconditioned")
    )
    assert plain.notes == ()
    (note,) = scaled.notes
    assert note.startswith("1 of 39 entries of the preconditioner are next to 0: 0.bias;")
    assert objective.notes == before == ()
