"""The edge of stability, against gradient descent and Adam on a parabola of that curvature."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from landscape.errors import UsageError
from landscape.history.edge import EdgeOfStability


def converges(curvature: float, optimizer: type[torch.optim.Optimizer], **options: float) -> bool:
    """Whether an optimizer comes closer to the minimum of curvature x^2 / 2."""
    x = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    descent = optimizer([x], **options)  # type: ignore[arg-type]
    for _ in range(600):
        descent.zero_grad()
        (curvature * x**2 / 2).backward()
        descent.step()
    return bool(abs(x) < 1e-2)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_descent_converges_below_the_edge_alone(momentum: float) -> None:
    edge = EdgeOfStability.of(0.1, momentum).at(0)
    assert edge == pytest.approx((2 + 2 * momentum) / 0.1)
    assert converges(0.97 * edge, torch.optim.SGD, lr=0.1, momentum=momentum)
    assert not converges(1.03 * edge, torch.optim.SGD, lr=0.1, momentum=momentum)


def test_adam_diverges_above_38_over_its_rate() -> None:
    """With a fixed preconditioner Adam is descent with an exponential mean of gradients: iterated here by hand."""

    def stays(curvature: float) -> bool:
        x, mean, rate, beta = 1.0, 0.0, 0.01, 0.9
        for _ in range(4000):
            mean = beta * mean + (1 - beta) * curvature * x
            x -= rate * mean
        return abs(x) < 1

    edge = EdgeOfStability.of(0.01, preconditioned=True).at(0)
    assert edge == pytest.approx(3800)
    assert stays(0.98 * edge)
    assert not stays(1.02 * edge)


@pytest.mark.parametrize(
    "text", ["step,lr\n0,0.1\n100,0.01\n", "0,0.1\n100,0.01\n", "epoch,learning_rate,step\n1,0.1,0\n2,0.01,100\n"]
)
def test_rates_from_a_table_hold_until_the_next_one(text: str, tmp_path: Path) -> None:
    (tmp_path / "lr.csv").write_text(text)
    edge = EdgeOfStability.of(tmp_path / "lr.csv")
    assert [edge.rate_at(step) for step in (-5, 0, 99, 100, 1000)] == [0.1, 0.1, 0.1, 0.01, 0.01]


def test_rates_from_json(tmp_path: Path) -> None:
    (tmp_path / "lr.json").write_text('{"0": 0.2, "50": 0.1}')
    assert EdgeOfStability.of(str(tmp_path / "lr.json")).at(60) == pytest.approx(20)


@pytest.mark.parametrize("text", ["", "step,loss\n1,2\n", "a,b\nc,d\n", "1,2,3\n", "{]", '{"0": null}'])
def test_a_file_that_holds_no_rates_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "lr").write_text(text)
    with pytest.raises(UsageError):
        EdgeOfStability.of(tmp_path / "lr")


@pytest.mark.parametrize(("rate", "momentum"), [(0, None), (-1, None), (0.1, 1.0), (float("nan"), None), ("none", 0)])
def test_rates_and_momenta_out_of_range_are_refused(rate: float | str, momentum: float | None) -> None:
    with pytest.raises(UsageError):
        EdgeOfStability.of(rate, momentum)


def test_a_table_that_an_editor_of_windows_has_marked_is_read(tmp_path: Path) -> None:
    (tmp_path / "lr.csv").write_bytes(b"\xef\xbb\xbf0,0.1\r\n10,0.05\r\n")
    assert EdgeOfStability.of(str(tmp_path / "lr.csv")).at(10) == pytest.approx(2 / 0.05)


@pytest.mark.parametrize(
    "group",
    [
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "dampening": 0.5},
        {"momentum": 0.0, "dampening": 0.5},
    ],
    ids=["heavy-ball", "nesterov", "dampened", "no-momentum"],
)
def test_the_edge_of_a_group_is_where_its_descent_ceases_to_converge(group: dict[str, float]) -> None:
    x = torch.nn.Parameter(torch.ones(()))
    groups = torch.optim.SGD([x], lr=0.1, **group).state_dict()["param_groups"]  # type: ignore[arg-type]
    edge = EdgeOfStability.of("checkpoint").at(0, groups)
    assert EdgeOfStability.of(0.1).at(0, groups) == edge
    assert converges(0.97 * edge, torch.optim.SGD, lr=0.1, **group)
    assert not converges(1.03 * edge, torch.optim.SGD, lr=0.1, **group)


def test_adam_s_first_beta_is_that_of_the_groups() -> None:
    groups = [{"lr": 0.01, "betas": (0.5, 0.999)}]
    assert EdgeOfStability.of(0.01, preconditioned=True).at(0, groups) == pytest.approx(3 / 0.5 / 0.01)
    assert EdgeOfStability.of("checkpoint", preconditioned=True).at(0, groups) == pytest.approx(600)
    assert EdgeOfStability.of("checkpoint", preconditioned=True).words(groups) == "6 / learning rate"
    assert EdgeOfStability.of(0.01, 0.9, preconditioned=True).at(0, groups) == pytest.approx(3800)


@pytest.mark.parametrize(
    ("edge", "groups", "said"),
    [
        (EdgeOfStability.of(0.1), [{"lr": 0.1, "momentum": 0.9}], []),
        (EdgeOfStability.of(0.1), [], []),
        (EdgeOfStability.of("checkpoint"), [], ["holds no optimizer's state"]),
        (EdgeOfStability.of(0.1), [{"lr": 0.01}], ["has the learning rate 0.01 at step 5, and --lr is 0.1"]),
        (EdgeOfStability.of("checkpoint"), [{"lr": 0.01}, {"lr": 0.003}], ["0.003, 0.01: the edge is that of 0.01"]),
        (EdgeOfStability.of(0.1, 0.5), [{"lr": 0.1, "momentum": 0.9}], ["momentum 0.9, and --momentum is 0.5"]),
        (
            EdgeOfStability.of(0.1),
            [{"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.0}],
            ["groups of momentum 0, 0.9: the edge is that of 0"],
        ),
        (EdgeOfStability.of(0.1), [{"lr": 0.1, "betas": (0.9, 0.99)}], ["--operator preconditioned"]),
        (EdgeOfStability.of(0.1, preconditioned=True), [{"lr": 0.1, "betas": (0.8, 0.99)}], []),
    ],
)
def test_where_the_optimizer_s_state_does_not_fit_is_said(
    edge: EdgeOfStability, groups: list[dict[str, object]], said: list[str]
) -> None:
    notes = edge.notes(5, groups, "a.pt")
    assert len(notes) == len(said)
    assert all(words in note and "a.pt" in note for words, note in zip(said, notes, strict=True))


def test_an_unknown_rate_is_no_number_and_a_rate_of_zero_has_no_edge() -> None:
    assert math.isnan(EdgeOfStability.of("checkpoint").at(0))
    assert EdgeOfStability.of("checkpoint").at(0, [{"lr": 0.0}]) == math.inf
