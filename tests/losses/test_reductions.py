"""Loss modules of torch with every reduction, weights and ignored targets, in ragged batches, against torch itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError
from landscape.losses.reductions import reduction_of
from landscape.losses.user import as_loss
from landscape.operators import operator

SAMPLES = 13
RAGGED = (5, 1, 7)
X = torch.randn(SAMPLES, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randint(0, 3, (SAMPLES,), generator=torch.Generator().manual_seed(1))
IGNORING = CLASSES.clone()
IGNORING[::4] = -100
MARKED = CLASSES.clone()
MARKED[::3] = 1  # the class that ignore_index=1 leaves out
REALS = torch.randn(SAMPLES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
SOFT, BITS, SIGNS = REALS.softmax(-1), (REALS > 0).double(), REALS.sign()
WEIGHT = torch.tensor([0.3, 2.0, 1.1], dtype=torch.float64)
Case = tuple[Callable[..., nn.Module], dict[str, Any], Tensor]

CASES: dict[str, Case] = {
    "mse": (nn.MSELoss, {}, REALS),
    "l1": (nn.L1Loss, {}, REALS),
    "huber": (nn.HuberLoss, {"delta": 0.3}, REALS),
    "smooth-l1": (nn.SmoothL1Loss, {"beta": 0.3}, REALS),
    "bce": (nn.BCEWithLogitsLoss, {}, BITS),
    "bce-pos-weight": (nn.BCEWithLogitsLoss, {"pos_weight": WEIGHT}, BITS),
    "bce-weight": (nn.BCEWithLogitsLoss, {"weight": WEIGHT, "pos_weight": WEIGHT.flip(0)}, BITS),
    "cross-entropy": (nn.CrossEntropyLoss, {}, CLASSES),
    "ignored": (nn.CrossEntropyLoss, {}, IGNORING),
    "weights": (nn.CrossEntropyLoss, {"weight": WEIGHT}, CLASSES),
    "weights-ignored": (nn.CrossEntropyLoss, {"weight": WEIGHT}, IGNORING),
    "weights-marked": (nn.CrossEntropyLoss, {"weight": WEIGHT, "ignore_index": 1}, MARKED),
    "smoothing": (nn.CrossEntropyLoss, {"label_smoothing": 0.2}, CLASSES),
    "smoothing-ignored": (nn.CrossEntropyLoss, {"label_smoothing": 0.2}, IGNORING),
    "smoothing-weights": (nn.CrossEntropyLoss, {"label_smoothing": 0.2, "weight": WEIGHT}, CLASSES),
    "smoothing-weights-marked": (
        nn.CrossEntropyLoss, {"label_smoothing": 0.2, "weight": WEIGHT, "ignore_index": 1}, MARKED
    ),
    "probabilities": (nn.CrossEntropyLoss, {}, SOFT),
    "probabilities-weights-smoothing": (nn.CrossEntropyLoss, {"label_smoothing": 0.2, "weight": WEIGHT}, SOFT),
    "nll-weights-ignored": (nn.NLLLoss, {"weight": WEIGHT}, IGNORING),
    "poisson": (nn.PoissonNLLLoss, {"full": False}, REALS.abs()),
    "kl": (nn.KLDivLoss, {}, SOFT),
    "soft-margin": (nn.SoftMarginLoss, {}, SIGNS),
    "multilabel": (nn.MultiLabelSoftMarginLoss, {}, BITS),
}  # fmt: skip


class Net(nn.Module):
    """Logits, or logarithms of probabilities where a loss takes these."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Linear(4, 2, dtype=torch.float64), nn.Linear(2, 3, dtype=torch.float64)
        self.logarithms = kind in (nn.NLLLoss, nn.KLDivLoss)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x).tanh())
        return out.log_softmax(-1) if self.logarithms else out


def expected_mean(case: Case, reduction: str, output: Tensor) -> Tensor:
    """Of all samples at once, as torch's module itself computes it."""
    kind, settings, target = case
    value: Tensor = kind(**settings, reduction=reduction)(output, target)
    return value.sum() / SAMPLES if reduction == "sum" else value.mean()


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # torch's own opinion of KLDivLoss
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_value_gradient_and_hessian_are_torch_s_own(case: Case, reduction: str) -> None:
    kind, settings, target = case
    net = Net(kind)
    batches = list(zip(X.split(RAGGED), target.split(RAGGED), strict=True))
    objective = Objective(net, batches, kind(**settings, reduction=reduction), dtype="float64")
    blocks, shapes = [p.numel() for p in net.parameters()], {n: p.shape for n, p in net.named_parameters()}

    def mean(theta: Tensor) -> Tensor:
        named = {n: part.view(shapes[n]) for n, part in zip(shapes, theta.split(blocks), strict=True)}
        return expected_mean(case, reduction, functional_call(net, named, (X,)))

    theta = torch.cat([parameter.detach().flatten() for parameter in net.parameters()]).requires_grad_()
    (gradient,) = torch.autograd.grad(value := mean(theta), theta)
    assert float(objective.value()) == pytest.approx(float(value.detach()), rel=1e-12)
    torch.testing.assert_close(objective.gradient(), gradient, rtol=1e-10, atol=1e-13)
    dense = hessian(mean, theta.detach())
    torch.testing.assert_close(operator("hessian", objective).to_dense(), dense, rtol=1e-9, atol=1e-12)
    told = [note for note in objective.notes if f"has reduction='{reduction}'" in note]
    assert len(told) == (reduction != "mean")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["mse", "cross-entropy", "bce"])
def test_the_gauss_newton_matrix_has_the_same_count(kind: str, reduction: str) -> None:
    """Of a linear model the Hessian."""
    case = CASES[kind]
    torch.manual_seed(0)
    net = nn.Linear(4, 3, dtype=torch.float64)
    batches = list(zip(X.split(RAGGED), case[2].split(RAGGED), strict=True))
    objective = Objective(net, batches, case[0](reduction=reduction), dtype="float64")
    dense = operator("hessian", objective).to_dense()
    torch.testing.assert_close(operator("ggn", objective).to_dense(), dense, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "kind", "settings", "target"),
    [
        (functools.partial(functional.mse_loss, reduction="sum"), nn.MSELoss, {"reduction": "sum"}, REALS),
        (functools.partial(functional.cross_entropy, weight=WEIGHT), nn.CrossEntropyLoss, {"weight": WEIGHT}, CLASSES),
        (
            functools.partial(functional.cross_entropy, label_smoothing=0.1, reduction="sum"),
            nn.CrossEntropyLoss,
            {"label_smoothing": 0.1, "reduction": "sum"},
            IGNORING,
        ),
    ],
    ids=["mse", "weight", "smoothing"],
)
def test_a_partial_function_of_torch_is_its_module(
    given: Any, kind: type[nn.Module], settings: dict[str, Any], target: Tensor
) -> None:
    ours, modules = as_loss(given), as_loss(kind(**settings))
    output = REALS + 1
    assert float(ours.total(output, target)) == float(modules.total(output, target))
    assert ours.count(target) == modules.count(target)
    assert ours.structure == modules.structure


def summed(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 4).sum()


def each(output: Tensor, target: Tensor) -> Tensor:
    return (output - target) ** 4


class Focal(nn.Module):
    """A user's module with the usual argument."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        losses = each(output, target)
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()


class TestLossesOfUsers:
    def declared(self, function: Any, reduction: str) -> Any:
        @functools.wraps(function)
        def loss(output: Tensor, target: Tensor) -> Any:
            return function(output, target)

        loss.reduction = reduction  # type: ignore[attr-defined]
        return loss

    @pytest.mark.parametrize("form", ["attribute", "module", "partial"])
    @pytest.mark.parametrize("reduction", ["sum", "none"])
    def test_a_declared_reduction_is_measured_as_the_mean_over_samples(self, form: str, reduction: str) -> None:
        function = {"sum": summed, "none": each}[reduction]

        def by_keyword(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
            return Focal(reduction)(output, target)  # type: ignore[no-any-return]

        loss = {
            "attribute": self.declared(function, reduction),
            "module": Focal(reduction),
            "partial": functools.partial(by_keyword, reduction=reduction),
        }[form]
        net = nn.Linear(4, 3, dtype=torch.float64)
        batches = list(zip(X.split(RAGGED), REALS.split(RAGGED), strict=True))
        objective = Objective(net, batches, loss, dtype="float64")
        whole = float(each(net(X), REALS).sum().detach())
        assert float(objective.value()) == pytest.approx(whole / (SAMPLES if reduction == "sum" else 3 * SAMPLES))
        assert objective.count == SAMPLES
        assert any(f"has reduction='{reduction}'" in note for note in objective.notes)

    def test_a_sum_that_is_not_declared_is_refused_with_the_way_to_declare_it(self) -> None:
        net = nn.Linear(4, 3, dtype=torch.float64)
        with pytest.raises(TaskError, match=r"returns a sum\n.*loss.reduction = 'sum'.*--objective.*\(sum, count\)"):
            Objective(net, (X, REALS), summed, dtype="float64")

    def test_a_mean_that_is_declared_as_a_sum_is_refused(self) -> None:
        net = nn.Linear(4, 3, dtype=torch.float64)
        loss = self.declared(functional.mse_loss, "sum")
        with pytest.raises(TaskError, match=r"has reduction='sum', and returns a mean.*\n.*reduction = 'mean'"):
            Objective(net, (X, REALS), loss, dtype="float64")

    @pytest.mark.parametrize(("function", "reduction"), [(each, "sum"), (summed, "none")])
    def test_a_shape_that_does_not_go_with_the_reduction_is_refused(self, function: Any, reduction: str) -> None:
        with pytest.raises(TaskError, match=rf"reduction='{reduction}', and returned shape .* for 13 samples"):
            as_loss(self.declared(function, reduction)).total(REALS, REALS + 1)

    def test_other_words_declare_nothing(self) -> None:
        assert reduction_of(nn.KLDivLoss(reduction="batchmean")) == "mean"
        assert reduction_of(summed) == "mean"


def test_class_weights_hold_in_micro_batches_of_one() -> None:
    net, module = Net(nn.CrossEntropyLoss), nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.1)
    whole, single = (Objective(net, (X, IGNORING), module, dtype="float64", micro_batch=size) for size in (13, 1))
    torch.testing.assert_close(whole.gradient(), single.gradient(), rtol=1e-12, atol=1e-14)
    assert not whole.as_given
