"""Declared structures are checked on the first samples: right ones pass, wrong ones are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError
from landscape.losses import OutputStructure, as_loss
from landscape.losses.structure_check import canonical_hessian_product

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randint(0, 3, (24,), generator=torch.Generator().manual_seed(1))
IGNORING = CLASSES.clone()
IGNORING[2:5] = -100
REALS = torch.randn(24, 3, generator=torch.Generator().manual_seed(2))
BITS = (REALS > 0).float()
LINKED = OutputStructure("classes", canonical_link=True)


@dataclass
class Declared:
    """A loss of a function that sums, counts targets and declares a structure."""

    function: Any
    structure: Any
    name: str = "declared"

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        value: Tensor = self.function(output, target)
        return value

    def count(self, target: Tensor) -> int:
        return len(target)


def summed(function: Any, **options: Any) -> Any:
    return lambda output, target: function(output, target, reduction="sum", **options)


BINARY = OutputStructure("binary", canonical_link=True)
SQUARES = OutputStructure("squared_error", canonical_link=True)
RIGHT = {
    "cross-entropy": (summed(functional.cross_entropy), LINKED, IGNORING),
    "smoothed": (summed(functional.cross_entropy, label_smoothing=0.2), LINKED, CLASSES),
    "other-ignored": (
        summed(functional.cross_entropy, ignore_index=1),
        OutputStructure("classes", ignore_index=1, canonical_link=True),
        CLASSES,
    ),
    "binary": (summed(functional.binary_cross_entropy_with_logits), BINARY, BITS),
    "squares": (summed(functional.mse_loss), SQUARES, REALS),
    "weighted-without-link": (
        summed(functional.cross_entropy, weight=torch.tensor([1.0, 2.0, 3.0])), OutputStructure("classes"), CLASSES
    ),
    "huber-of-unknown": (summed(functional.huber_loss), OutputStructure(), REALS),
}  # fmt: skip
WRONG = {
    "weighted": (summed(functional.cross_entropy, weight=torch.tensor([1.0, 2.0, 3.0])), LINKED, CLASSES),
    "scaled": (lambda output, target: functional.cross_entropy(output, target), LINKED, CLASSES),
    "ignores-other-labels": (summed(functional.cross_entropy, ignore_index=1), LINKED, CLASSES),
    "positive-weights": (
        summed(functional.binary_cross_entropy_with_logits, pos_weight=torch.tensor(3.0)), BINARY, BITS
    ),
    "half-squares": (lambda output, target: 0.5 * (output - target).square().sum(), SQUARES, REALS),
    "linear": (lambda output, target: (output - target).sum(), SQUARES, REALS),
    "absolute": (summed(functional.l1_loss), SQUARES, REALS),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT.values(), ids=list(RIGHT))
def test_right_declarations_pass(case: tuple[Any, OutputStructure, Tensor]) -> None:
    function, structure, targets = case
    loss = Declared(function, structure)
    assert Objective(tanh_net(), (X, targets), loss).loss is loss


@pytest.mark.parametrize("case", WRONG.values(), ids=list(WRONG))
def test_another_hessian_than_that_of_the_link_is_refused(case: tuple[Any, OutputStructure, Tensor]) -> None:
    function, structure, targets = case
    with pytest.raises(TaskError, match=r"declares canonical_link, and its Hessian in the output is another one"):
        Objective(tanh_net(), (X, targets), Declared(function, structure))


def sure_net(scale: float) -> nn.Module:
    """A net whose logits are as large as the scale."""
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.weight.copy_(scale * torch.randn(3, 5, generator=torch.Generator().manual_seed(4)))
    return model


@pytest.mark.parametrize("scale", [30.0, 1e3, 1e5])
@pytest.mark.parametrize("kind", ["cross-entropy", "binary", "squares"])
def test_declarations_are_checked_where_predictions_are_sure(kind: str, scale: float) -> None:
    function, structure, targets = RIGHT[kind]
    model = sure_net(scale)
    assert Objective(model, (X, targets), Declared(function, structure))
    with pytest.raises(TaskError, match="its Hessian in the output is another one"):
        Objective(model, (X, targets), Declared(lambda output, target: 2 * function(output, target), structure))


@pytest.mark.parametrize(
    "structure",
    [OutputStructure("binary"), OutputStructure("squared_error"), OutputStructure("classes", class_axis=0)],
    ids=["binary", "squares", "axis"],
)
def test_labels_that_do_not_fit_are_refused(structure: OutputStructure) -> None:
    with pytest.raises(TaskError, match=r"its labels do not fit: output \(8, 3\) .*, labels \(8,\)"):
        Objective(tanh_net(), (X, CLASSES), Declared(summed(functional.cross_entropy), structure))


def test_a_structure_of_tensors_for_a_model_of_several_outputs_is_refused() -> None:
    class Two(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x), x

    loss = Declared(lambda output, target: functional.cross_entropy(output[0], target, reduction="sum"), LINKED)
    with pytest.raises(TaskError, match=r"declares classes of a tuple\n.*scored_output returns a tensor"):
        Objective(Two(5, 3), (X, CLASSES), loss)


def test_a_structure_that_takes_a_container_apart_passes() -> None:
    class First(OutputStructure):
        def scored_output(self, output: Any) -> Any:
            return output[0]

    class Two(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x), x

    loss = Declared(summed(functional.cross_entropy), First("classes", canonical_link=True))
    found = Objective(Two(5, 3), (X, CLASSES), loss)
    assert found.batch_output(found.theta, next(iter(found.batches))).shape == (24, 3)


def test_methods_that_fail_name_the_loss() -> None:
    class Broken(OutputStructure):
        def labels(self, target: Any) -> Any:
            raise KeyError("y")

    with pytest.raises(TaskError, match=r"the structure that loss declared declares cannot be used: KeyError: 'y'"):
        Objective(tanh_net(), (X, CLASSES), Declared(summed(functional.cross_entropy), Broken("classes")))


@pytest.mark.parametrize(
    ("name", "target"), [("cross_entropy", CLASSES), ("bce", BITS), ("mse", REALS)], ids=["classes", "bits", "reals"]
)
def test_the_canonical_product_is_that_of_the_dense_hessian(name: str, target: Tensor) -> None:
    loss, output, vector = as_loss(name), REALS.double(), torch.randn(24, 3, dtype=torch.float64)
    dense = torch.autograd.functional.hessian(lambda o: loss.total(o, target), output).view(72, 72)
    product = canonical_hessian_product(loss.structure, output, target, vector)
    assert torch.allclose(product.reshape(-1), dense @ vector.reshape(-1), atol=1e-12)
