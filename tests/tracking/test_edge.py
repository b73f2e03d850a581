"""The edge of stability, against gradient descent and Adam on a parabola of that curvature."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landscape.errors import UsageError
from landscape.tracking import EdgeOfStability


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
