"""The exact trace of the Gauss-Newton matrix, by parameter, against Jacobians of torch.func."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev
from torch.nn import functional

from landscape import Objective
from landscape.operators import exact_trace as module
from landscape.operators.exact_trace import exact_trace, find_exact_parameters, outputs_of_sample

Loss = Callable[[Tensor, Tensor], Tensor]
GENERATOR = torch.Generator()


def expected(model: nn.Module, x: Tensor, y: Tensor, loss: Loss, terms: int | None = None) -> dict[str, float]:
    """tr of each parameter's block of sum_n J_n'M_n J_n / terms, with M_n the Hessian of one sample's summed loss."""
    model = model.double().eval()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    inputs = x.double() if x.is_floating_point() else x
    found = dict.fromkeys(weights, 0.0)
    for one, target in zip(inputs.split(1), y.double().split(1) if y.is_floating_point() else y.split(1), strict=True):

        def output(named: dict[str, Tensor], one: Tensor = one) -> Tensor:
            return functional_call(model, named, (one,)).reshape(-1)

        shape = functional_call(model, weights, (one,)).shape
        curvature = hessian(lambda z, t=target, s=shape: loss(z.reshape(s), t))(output(weights))
        for name, jacobian in jacrev(output)(weights).items():
            rows = jacobian.reshape(len(jacobian), -1)
            found[name] += float((rows * (curvature @ rows)).sum())
    return {name: value / (terms or len(x)) for name, value in found.items()}


def summed_cross_entropy(z: Tensor, t: Tensor) -> Tensor:
    return functional.cross_entropy(z, t, reduction="sum")


def summed_squares(z: Tensor, t: Tensor) -> Tensor:
    return ((z - t) ** 2).sum()


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def classes(count: int, of: int = 3) -> Tensor:
    return torch.randint(0, of, (count,), generator=GENERATOR)


def conv_net() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.GroupNorm(2, 4),
        nn.Tanh(), nn.Conv2d(4, 6, 2, stride=2, dilation=1, padding_mode="reflect", padding=1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    net[1].running_mean.normal_(generator=GENERATOR)
    return net


def signal_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2), nn.Tanh(), nn.ConvTranspose1d(4, 2, 3), nn.PReLU(), nn.Flatten(), nn.Linear(12, 2)
    )


class Text(nn.Module):
    """Tokens with padding, two lookups of one table, and normalizations, averaged over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4, padding_idx=0)
        self.norm = nn.LayerNorm(4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.table(ids) + self.table(ids.flip(1))
        return self.head(self.norm(torch.tanh(self.mix(hidden))).mean(dim=1))


class TimeFirst(nn.Module):
    """Samples along the second axis inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.head = nn.Linear(5, 5), nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(torch.tanh(self.inner(x.transpose(0, 1)))).mean(dim=0))


class Shared(nn.Module):
    """Two layers with one weight, one of which runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(torch.tanh(self.first(x)))))))


class Routed(nn.Module):
    """One of two layers by sample."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.where(x[:, :1] > 0, self.left(x), self.right(x)))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]]]] = {
    "tanh": (tanh_net, lambda: (normal(12, 5), classes(12))),
    "convolutions": (conv_net, lambda: (normal(9, 2, 6, 6), classes(9))),
    "text": (Text, lambda: (torch.randint(0, 7, (9, 6), generator=GENERATOR), classes(9))),
    "time-first": (TimeFirst, lambda: (normal(8, 8, 5), classes(8))),
    "shared": (Shared, lambda: (normal(10, 5), classes(10))),
    "routed": (Routed, lambda: (normal(10, 5), classes(10))),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    GENERATOR.manual_seed(3)
    torch.manual_seed(3)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_parameter_of_a_net_is_as_by_jacobians(name: str) -> None:
    build, draw = MODELS[name]
    model, (x, y) = build(), draw()
    found = exact_trace(Objective(model, (x, y), "cross_entropy", dtype="float64"))
    assert found is not None
    assert dict(found.by_name) == pytest.approx(expected(model, x, y, summed_cross_entropy), rel=1e-10)
    assert found.trace == pytest.approx(sum(found.by_name.values()))


def test_batches_do_not_matter(classification: tuple[Tensor, Tensor], split: Splitter) -> None:
    found = exact_trace(Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64"))
    assert found is not None
    assert dict(found.by_name) == pytest.approx(expected(tanh_net(), *classification, summed_cross_entropy), rel=1e-10)


def huber(z: Tensor, t: Tensor) -> Tensor:
    return functional.huber_loss(z, t, delta=0.5)


def saddle(z: Tensor, t: Tensor) -> Tensor:
    """A loss with curvatures of both signs that mixes its outputs."""
    return (torch.sin(z) * t + z.roll(1, -1) * z).mean()


@pytest.mark.parametrize(
    ("loss", "of_sample"),
    [
        ("mse", summed_squares),
        (nn.MSELoss(), summed_squares),
        (huber, lambda z, t: functional.huber_loss(z, t, delta=0.5, reduction="sum")),
        (saddle, lambda z, t: (torch.sin(z) * t + z.roll(1, -1) * z).sum()),
    ],
    ids=["mse", "mse-module", "huber", "of-both-signs"],
)
def test_losses_of_numbers(loss: Any, of_sample: Loss) -> None:
    x, y = normal(10, 5), normal(10, 3)
    found = exact_trace(Objective(tanh_net(), (x, y), loss, dtype="float64"))
    assert found is not None
    wanted = expected(tanh_net(), x, y, of_sample, 30)
    assert dict(found.by_name) == pytest.approx(wanted, rel=1e-9)


def test_binary_labels_and_weights_of_classes() -> None:
    x = normal(10, 5)
    binary = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    y = (normal(10, 1) > 0).double()
    found = exact_trace(Objective(binary, (x, y), "bce", dtype="float64"))
    wanted = expected(binary, x, y, lambda z, t: functional.binary_cross_entropy_with_logits(z, t, reduction="sum"))
    assert found is not None
    assert dict(found.by_name) == pytest.approx(wanted, rel=1e-10)
    weights, labels = torch.tensor([1.0, 2.0, 0.5]), classes(10)
    objective = Objective(tanh_net(), (x, labels), nn.CrossEntropyLoss(weight=weights), dtype="float64")
    found = exact_trace(objective)

    def weighted(z: Tensor, t: Tensor) -> Tensor:
        return functional.cross_entropy(z, t, weight=weights.double(), reduction="sum")

    assert found is not None
    wanted = expected(tanh_net(), x, labels, weighted, 1)
    assert dict(found.by_name) == pytest.approx({n: v / objective.count for n, v in wanted.items()}, rel=1e-10)


def test_several_columns_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = conv_net(), (normal(9, 2, 6, 6), classes(9))
    objective = Objective(model, (x, y), "cross_entropy", dtype="float64")
    whole = exact_trace(objective)
    monkeypatch.setattr(module, "COLUMN_BYTES", 2 * objective.activation_bytes * 9)
    monkeypatch.setattr("landscape.evaluation.per_sample.own_gradients.CHUNK_BYTES", 600)
    monkeypatch.setattr("landscape.evaluation.per_sample.own_gradients.OUTER_BYTES", 600)
    pieces = exact_trace(objective)
    assert whole is not None
    assert pieces is not None
    assert dict(pieces.by_name) == pytest.approx(dict(whole.by_name), rel=1e-12)


def test_weight_decay_is_part_of_it() -> None:
    x, y = normal(10, 5), classes(10)
    plain, decayed = (
        exact_trace(Objective(tanh_net(), (x, y), "cross_entropy", weight_decay=rate, decay_params=globs))
        for rate, globs in ((0.0, ()), (0.1, ("*.weight",)))
    )
    assert plain is not None
    assert decayed is not None
    rises = {name: decayed.by_name[name] - plain.by_name[name] for name in plain.by_name}
    assert rises == pytest.approx({"0.weight": 2.0, "0.bias": 0.0, "2.weight": 1.2, "2.bias": 0.0}, abs=1e-5)


class AlsoFunctional(nn.Module):
    """A layer whose weight the model multiplies by elsewhere too, for samples from some place on."""

    def __init__(self, threshold: float = -9.0) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 5), nn.Linear(5, 3)
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(x)
        late = x[:, :1] > self.threshold
        if bool(late.any()):
            hidden = torch.where(late, torch.tanh(hidden) @ self.inner.weight, hidden)
        return self.head(hidden)


class Reversed(nn.Module):
    """A layer that sees the samples in the reverse order."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x.flip(0)).flip(0)))


class Interleaved(nn.Module):
    """A layer that sees the first sample's rows first, and then the rows of the others in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(1, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x[..., None]  # five rows a sample
        flat = torch.cat([rows[0], rows[1:].transpose(0, 1).reshape(-1, 1)])
        hidden = torch.tanh(self.inner(flat))
        others = hidden[5:].view(5, len(x) - 1, 4).transpose(0, 1)
        return self.head(torch.cat([hidden[None, :5], others]).mean(dim=1))


class Scaled(nn.Linear):
    """A linear layer that is none."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight / self.weight.norm(), self.bias)


def normed() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of the oracle
@pytest.mark.parametrize(
    ("build", "left_out"),
    [
        (AlsoFunctional, {"inner.weight"}),
        (lambda: AlsoFunctional(1.0), {"inner.weight"}),
        (Reversed, {"inner.weight", "inner.bias"}),
        (Interleaved, {"inner.weight", "inner.bias"}),
        (lambda: nn.Sequential(Scaled(5, 4), nn.Tanh(), nn.Linear(4, 3)), {"0.weight"}),
        (normed, {"0.parametrizations.weight.original0", "0.parametrizations.weight.original1", "0.bias"}),
    ],
    ids=["functional", "functional-in-some-samples", "reversed", "interleaved", "no-linear-layer", "weight-norm"],
)
def test_what_is_no_closed_form_is_left_out(build: Callable[[], nn.Module], left_out: set[str]) -> None:
    x, y = normal(24, 5), classes(24)
    x[:5, 0] = 0.0  # the first samples are compared one by one
    model = build()
    objective = Objective(model, (x, y), "cross_entropy", dtype="float64", micro_batch=8)
    found = exact_trace(objective)
    assert found is not None
    wanted = {n: v for n, v in expected(model, x, y, summed_cross_entropy).items() if n not in left_out}
    assert dict(found.by_name) == pytest.approx(wanted, rel=1e-9)


def test_nothing_is_known_of_many_outputs_or_dependent_samples() -> None:
    x = normal(10, 5)
    wide = Objective(nn.Linear(5, 40), (x, classes(10, 40)), "cross_entropy")
    assert exact_trace(wide) is None
    assert find_exact_parameters(wide) == frozenset()
    assert outputs_of_sample(Objective(tanh_net(), (x, classes(10)), "cross_entropy")) == 3

    def contrast(z: Tensor, t: Tensor) -> Tensor:
        return ((z @ z.T - t[:, None]) ** 2).mean()

    assert exact_trace(Objective(tanh_net(), (x, normal(10)), contrast)) is None


def test_a_module_that_cannot_run_by_itself_is_left_out() -> None:
    class Counted(nn.Module):
        """A scale that refuses samples one by one."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(5))

        def forward(self, x: Tensor) -> Tensor:
            if float(x.sum()) > 1e9:
                raise ValueError
            return x * self.scale

    model = nn.Sequential(Counted(), nn.Linear(5, 3))
    found = exact_trace(Objective(model, (normal(8, 5), classes(8)), "cross_entropy", dtype="float64"))
    assert found is not None
    assert set(found.by_name) == {"1.weight", "1.bias"}
