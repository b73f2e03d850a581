"""Derivatives are compared with differences: faults are found, kinks and float32 parts are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from contract_breakers import BATCHES, Clipped, Net, Rounded, SavedDerivative, X, Y
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.objective.checks.derivatives import DerivativeErrors, RelativeError, derivative_errors


def errors_of(objective: Objective) -> DerivativeErrors:
    batch = next(next(iter(objective.batches)).split(8))
    return derivative_errors(objective.function, objective.loss, objective.theta, batch, second=True)


def by(function: type[torch.autograd.Function]) -> Callable[[Any, Tensor], Tensor]:
    return lambda net, z: function.apply(z)  # type: ignore[no-untyped-call]


def stops(net: Any, z: Tensor) -> Tensor:
    return z * (1 + z.detach())


def scales_gradients(net: Any, z: Tensor) -> Tensor:
    if z.requires_grad:
        z.register_hook(lambda gradient: 1.02 * gradient)
    return z


GRADIENTS = {
    "clipped": by(Clipped),
    "straight-through": by(Rounded),
    "stopped": stops,
    "hook of 2 percent": scales_gradients,
}


@pytest.mark.parametrize("disturb", GRADIENTS.values(), ids=list(GRADIENTS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_that_is_not_the_derivative_of_the_loss_is_inconclusive(disturb: Any, dtype: str) -> None:
    objective = Objective(Net(disturb), BATCHES, "cross_entropy", dtype=dtype)
    for analysis in (landscape.Eig(k=1), landscape.Flatness(rho=(0.05,))):
        trouble = landscape.run(analysis, objective).trouble()
        assert trouble is not None
        assert trouble.kind == "contract"
        assert "gradient is not the derivative of the loss" in trouble.why


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("analysis", [landscape.Eig(k=1), landscape.Trace(rtol=0.1), landscape.Direction(lr=0.1)])
def test_a_second_derivative_that_forgets_a_part_is_inconclusive(analysis: Any, dtype: str) -> None:
    objective = Objective(Net(by(SavedDerivative)), BATCHES, "cross_entropy", dtype=dtype)
    result = landscape.run(analysis, objective)
    trouble = result.trouble()
    assert trouble is not None
    assert "second derivative is not that of the gradient" in trouble.why
    assert "--params" in trouble.fix
    found = {finding.check: finding for finding in result.checks}
    assert found["slope"].verdict == "holds"
    assert (found["curvature"].error or 0) > 1e-3


def test_the_same_layer_by_torch_s_own_operations_is_fine() -> None:
    result = landscape.run(
        landscape.Trace(rtol=0.1), Objective(Net(lambda net, z: z + torch.sin(z)), BATCHES, "cross_entropy")
    )
    assert result.trouble() is None
    assert [finding.verdict for finding in result.checks] == ["holds"] * 10


def hinge(output: Tensor, target: Tensor) -> Tensor:
    """Squared multi-class hinge of each sample (Crammer and Singer 2001)."""
    margins = 1 + output - output.gather(1, target[:, None])
    return margins.relu().square().sum(dim=1)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kinks_are_no_fault(seed: int, dtype: str) -> None:
    """ReLU, max-pooling, absolute values and hinges over seeds."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(5, 24),
        nn.ReLU(),
        nn.Unflatten(1, (2, 12)),
        nn.MaxPool1d(3),
        nn.Flatten(),
        nn.Linear(8, 3),
        nn.LeakyReLU(),
    )
    errors = errors_of(Objective(model, BATCHES, hinge if seed % 2 else "cross_entropy", dtype=dtype))
    assert errors.gradient.value < 1e-6
    assert errors.product is not None
    assert errors.product.value < 1e-5


@pytest.mark.parametrize("seed", range(10))
def test_kinks_that_lie_as_close_as_those_of_large_nets_are_no_fault(seed: int) -> None:
    """A wave of ups and downs, 1e-7 apart: many a step of 1e-9 crosses one."""

    def wave(z: Tensor) -> Tensor:
        return z + 1e-7 * (torch.remainder(z / 1e-7, 2) - 1).abs()

    torch.manual_seed(seed)
    errors = errors_of(Objective(Net(lambda net, z: wave(z)), BATCHES, "cross_entropy", dtype="float64"))
    assert errors.product is not None
    assert errors.product.value < errors.product.limit
    assert errors.gradient.value < errors.gradient.limit


@pytest.mark.parametrize("steepness", [1e3, 1e5])
def test_a_fault_is_found_where_the_slope_is_steep_and_the_curvature_weak(steepness: float) -> None:
    """At the smaller steps rounding would explain a gap as large as the whole curvature."""

    class Steep(Net):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = steepness * self.a(x) @ torch.ones(4, 3, dtype=x.dtype) + super().forward(x)
            return out

    def mean(output: Tensor, target: Tensor) -> Tensor:
        return output.square().sum(dim=1).sqrt()

    errors = errors_of(Objective(Steep(by(SavedDerivative)), BATCHES, mean, dtype="float64"))
    assert errors.product is not None
    assert errors.product.value > errors.product.limit


class PartlyFloat32(Net):
    """A net that normalizes in float32, whatever it is given."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.a(x)
        z = functional.layer_norm(z.float(), (4,)).to(x.dtype)
        out: Tensor = self.b(torch.tanh(z))
        return out


class OnlyFloat32(Net):
    """A net with a constant that is no buffer, and cannot be multiplied with float64."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = [torch.eye(4)]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(torch.tanh(self.a(x)) @ self.constant[0])
        return out


@pytest.mark.parametrize("model", [PartlyFloat32, OnlyFloat32])
def test_parts_in_float32_are_no_fault(model: type[Net]) -> None:
    objective = Objective(model(), BATCHES, "cross_entropy")
    assert landscape.run(landscape.Eig(k=1), objective).trouble() is None
    errors = errors_of(objective)
    assert errors.product is not None
    assert errors.product.value <= errors.product.limit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_a_loss_makes_into_tensors_have_the_measured_precision(dtype: str) -> None:
    def weighted(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target, weight=torch.tensor([1.0, 5.0, 0.2]))

    default = torch.get_default_dtype()
    objective = Objective(Net(), BATCHES, weighted, dtype=dtype)
    result = landscape.run(landscape.Eig(k=1), objective)
    assert result.trouble() is None
    assert max(finding.error or 0 for finding in result.checks if finding.check in ("slope", "curvature")) < 1e-6
    assert torch.get_default_dtype() == default


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_large_weights_in_float32_alone_are_no_fault(scale: float) -> None:
    class Large(OnlyFloat32):
        """A net with a table of large weights, of which few are used."""

        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(scale * torch.randn(200, 5, generator=torch.Generator().manual_seed(0)))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + torch.tanh(self.table[: len(x)]))

    assert landscape.run(landscape.Eig(k=1), Objective(Large(), (X, Y), "cross_entropy")).trouble() is None


def test_a_fault_in_a_net_that_computes_in_float32_alone_is_found() -> None:
    class Faulty(OnlyFloat32):
        def forward(self, x: Tensor) -> Tensor:
            z = SavedDerivative.apply(self.a(x))  # type: ignore[no-untyped-call]
            out: Tensor = self.b(z @ self.constant[0])
            return out

    objective = Objective(Faulty(), BATCHES, "cross_entropy")
    assert landscape.run(landscape.Eig(k=1), objective).trouble() is not None


def test_the_word_that_pads_texts_has_no_gradient_by_definition() -> None:
    torch.manual_seed(0)
    table = nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Flatten(), nn.Linear(16, 3))
    words = torch.randint(0, 7, (40, 4), generator=torch.Generator().manual_seed(0))
    assert landscape.run(landscape.Eig(k=1), Objective(table, (words, Y), "cross_entropy")).trouble() is None


def test_a_dead_net_has_no_derivative_to_compare() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    result = landscape.run(landscape.Eig(k=1), Objective(model, (X, Y), "cross_entropy"))
    assert {finding.verdict for finding in result.checks} == {"holds"}


@pytest.mark.parametrize(
    ("error", "limit"), [(RelativeError(0.01), 1e-3), (RelativeError(0.01, rough=True), 5e-2)], ids=["sharp", "rough"]
)
def test_rounding_widens_the_limit(error: RelativeError, limit: float) -> None:
    assert error.limit == limit


def sure_objective(scale: float, disturb: Callable[[Tensor], Tensor], dtype: str = "float32") -> Objective:
    """A net that is right about all samples, surer with a larger scale; `disturb` changes its hidden values."""

    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.a, self.b = nn.Linear(5, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return scale * self.b(disturb(torch.tanh(self.a(x))))  # type: ignore[no-any-return]

    model, x = Sure(), torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    return Objective(model, (x, model(x).argmax(1)), "cross_entropy", dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [10.0, 100.0, 300.0, 1e3, 3e3])
def test_rounding_of_a_loss_near_0_is_no_fault_of_the_gradient(scale: float, dtype: str) -> None:
    errors = errors_of(sure_objective(scale, torch.clone, dtype))
    assert errors.gradient.hidden or errors.gradient.value < errors.gradient.limit
    assert errors.gradient.hidden == (scale >= 1e3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_of_whole_numbers_hides_no_fault(dtype: str) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return Rounded.apply(4 * self.a(x))  # type: ignore[no-any-return, no-untyped-call]

    model, x = Counts(), torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    errors = errors_of(Objective(model, (x, torch.zeros(16, 3)), "mse", dtype=dtype))
    assert errors.gradient.value > errors.gradient.limit


@pytest.mark.parametrize("scale", [10.0, 30.0])
def test_a_fault_shows_while_the_loss_has_digits(scale: float) -> None:
    errors = errors_of(sure_objective(scale, lambda z: z * (1 + z.detach())))
    assert errors.gradient.value > errors.gradient.limit


@pytest.mark.parametrize(("scale", "verdict"), [(10.0, "holds"), (1e4, "broken")])
def test_digits_that_float32_loses_are_told(scale: float, verdict: str) -> None:
    checks = {
        one.check: one for one in landscape.run(landscape.Trace(rtol=0.5), sure_objective(scale, torch.clone)).checks
    }
    assert checks["precision"].verdict == verdict
    wide = landscape.run(landscape.Trace(rtol=0.5), sure_objective(scale, torch.clone, "float64"))
    assert wide.trouble() is None


def test_products_of_samples_that_decide_are_compared_with_float64() -> None:
    """Cross-entropies of 1e-7: the products of float32 miss percents, by no other sign."""
    gap = 16.0
    x = torch.eye(4).repeat(5, 1)
    model = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        model.weight.copy_(gap * torch.eye(4))
    checks, traces = {}, {}
    for dtype in ("float32", "float64"):
        result = landscape.run(
            landscape.Trace(rtol=0.01), Objective(model, (x, x.argmax(1)), "cross_entropy", dtype=dtype)
        )
        checks[dtype], traces[dtype] = {one.check: one for one in result.checks}["precision"], result.trace
    assert abs(traces["float32"] / traces["float64"] - 1) > 1e-3
    assert checks["float32"].verdict in ("noted", "broken")
    assert "few digits" in checks["float32"].found
    assert checks["float32"].fix == "--dtype float64"
    assert checks["float64"].verdict == "holds"
