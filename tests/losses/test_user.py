"""Losses as sums with counts: total / count is torch's mean, however the batches are cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, Splitter, tanh_net
from token_models import Texts, next_tokens
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import TaskError
from landscape.losses import OutputStructure
from landscape.losses.user import as_loss, infer_loss
from landscape.plugins.imports import import_object

LOGITS = torch.randn(24, 7, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randint(0, 7, (24,), generator=torch.Generator().manual_seed(1))
IGNORING = CLASSES.clone()
IGNORING[3::4] = -100
REALS = torch.randn(24, 7, generator=torch.Generator().manual_seed(2))
SOFT = REALS.softmax(-1)
SEQUENCE = LOGITS.view(24, 1, 7).expand(24, 5, 7) + torch.arange(5.0).view(1, 5, 1)
TOKENS = CLASSES.view(24, 1).expand(24, 5).clone()
TOKENS[:, 0] = -100
BITS = (REALS > 0).float()
SQUARE = torch.randn(24, 5, 5, generator=torch.Generator().manual_seed(3))
SQUARE_CLASSES = torch.randint(0, 5, (24, 5), generator=torch.Generator().manual_seed(4))
Case = tuple[Any, Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]


CASES: dict[str, Case] = {
    "cross_entropy": ("cross_entropy", LOGITS, CLASSES, functional.cross_entropy),
    "ignored-targets": ("cross_entropy", LOGITS, IGNORING, functional.cross_entropy),
    "soft-targets": ("cross_entropy", LOGITS, SOFT, functional.cross_entropy),
    "tokens-classes-last": (
        "cross_entropy", SEQUENCE, TOKENS, lambda o, t: functional.cross_entropy(o.transpose(1, 2), t)
    ),
    "tokens-classes-second": ("cross_entropy", SEQUENCE.transpose(1, 2), TOKENS, functional.cross_entropy),
    "mse": ("mse", LOGITS, REALS, functional.mse_loss),
    "bce": ("bce", LOGITS, BITS, functional.binary_cross_entropy_with_logits),
    "torch-function": (functional.cross_entropy, LOGITS, IGNORING, functional.cross_entropy),
    "module": (nn.CrossEntropyLoss(label_smoothing=0.1), LOGITS, CLASSES, nn.CrossEntropyLoss(label_smoothing=0.1)),
    "module-ignoring": (nn.CrossEntropyLoss(), LOGITS, IGNORING, nn.CrossEntropyLoss()),
    "torch-s-class-axis": (functional.cross_entropy, SQUARE, SQUARE_CLASSES, functional.cross_entropy),
    "soft-sequences": ("cross_entropy", SQUARE, SQUARE.softmax(1), functional.cross_entropy),
    "module-soft-sequences": (nn.CrossEntropyLoss(), SQUARE, SQUARE.softmax(1), functional.cross_entropy),
    "module-per-element": (nn.HuberLoss(), LOGITS, REALS, nn.HuberLoss()),
    "own-mean": (lambda o, t: ((o - t) ** 4).mean(), LOGITS, REALS, lambda o, t: ((o - t) ** 4).mean()),
    "own-per-sample": (lambda o, t: ((o - t) ** 4).mean(1), LOGITS, REALS, lambda o, t: ((o - t) ** 4).mean()),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_sum_over_batches_by_the_count_is_torch_s_mean(case: Case, split: Splitter) -> None:
    given, output, target, torchs = case
    loss = as_loss(given)
    batches = split(output, target)
    total = sum(float(loss.total(o, t)) for o, t in batches)
    assert total / sum(loss.count(t) for _, t in batches) == pytest.approx(float(torchs(output, target)), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("cross_entrpy", r"cross_entrpy \(did you mean cross_entropy\?\)"),
        (7, "7 is not a loss"),
    ],
    ids=["misspelt", "number"],
)
def test_what_is_no_mean_is_refused(loss: object, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        as_loss(loss)


def test_targets_may_be_a_container() -> None:
    loss = as_loss(lambda o, t: functional.cross_entropy(o, t["y"]))
    assert loss.count({"y": CLASSES, "weights": REALS}) == 24
    expected = float(functional.cross_entropy(LOGITS, CLASSES))
    assert float(loss.total(LOGITS, {"y": CLASSES})) / 24 == pytest.approx(expected)


def test_a_function_with_another_shape_is_refused() -> None:
    loss = as_loss(lambda o, t: (o - t) ** 2)
    with pytest.raises(TaskError, match=r"returned shape \(24, 7\) for 24 samples"):
        loss.total(LOGITS, REALS)


class Mine:
    """A user's loss object that declares nothing: the sum of differences over samples."""

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).sum()

    def count(self, target: Tensor) -> int:
        return len(target)


def test_an_object_with_total_and_count_is_a_loss_of_unknown_structure() -> None:
    loss = as_loss(Mine())
    assert loss.name == "Mine"
    assert loss.structure == OutputStructure()
    assert loss.count(REALS) == 24
    assert float(loss.total(LOGITS, REALS)) == pytest.approx(float((LOGITS - REALS).sum()))


def test_an_object_that_declares_its_structure_is_taken_as_it_is() -> None:
    mine = Mine()
    mine.structure = OutputStructure("classes")  # type: ignore[attr-defined]
    assert as_loss(mine) is mine


@pytest.mark.parametrize(
    ("structure", "message"),
    [("classes", "structure of loss Mine is a str"), (OutputStructure(likelihood=True), "no method sample")],
    ids=["word", "no-sample"],
)
def test_a_wrong_declaration_is_refused(structure: object, message: str) -> None:
    mine = Mine()
    mine.structure = structure  # type: ignore[attr-defined]
    with pytest.raises(TaskError, match=message):
        as_loss(mine)


@pytest.mark.parametrize(
    ("output", "target", "name"),
    [(LOGITS, CLASSES, "cross_entropy"), (SEQUENCE, TOKENS, "cross_entropy"), (LOGITS, REALS, "mse")],
    ids=["classes", "tokens", "reals"],
)
def test_shapes_that_leave_no_doubt_name_the_loss(output: Tensor, target: Tensor, name: str) -> None:
    assert infer_loss(output, target).name == name


@pytest.mark.parametrize(
    ("output", "target"),
    [
        (LOGITS, CLASSES.view(4, 6)),
        (LOGITS, REALS[:, 0]),
        (LOGITS, BITS.bool()),
        (REALS, BITS),
        (REALS, REALS.softmax(1)),
    ],
    ids=["shapes", "floats", "booleans", "bits", "chances"],
)
def test_anything_doubtful_is_asked_for(output: object, target: object) -> None:
    with pytest.raises(TaskError, match="--loss cross_entropy"):
        infer_loss(output, target)


def test_a_model_of_several_outputs_needs_a_loss_that_takes_them_apart() -> None:
    with pytest.raises(TaskError, match=r"the model returns a tuple\n.*def loss\(output, target\)"):
        infer_loss((LOGITS,), CLASSES)


def test_a_class_is_no_loss() -> None:
    with pytest.raises(TaskError, match=r"CrossEntropyLoss is a class\n.*an instance"):
        as_loss(nn.CrossEntropyLoss)


def test_the_loss_of_the_page_on_checkpoints_is_cross_entropy_of_the_next_token(
    generator: torch.Generator, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "checkpoints.md").read_text()
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "NextToken" in block]
    (tmp_path / "data.py").write_text(example)
    ids, _ = next_tokens(generator)
    shifted = Objective(Texts(), (ids, ids), import_object(f"{tmp_path / 'data.py'}:loss"), dtype="float64")
    logits = Texts().double()(ids)[:, :-1].detach()
    expected = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert float(shifted.value()) == pytest.approx(float(expected), rel=1e-12)
    assert shifted.loss.structure.has_classes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_have_their_true_count_whatever_the_batches(dtype: str, smoothing: float) -> None:
    """Torch divides by the sum of the targets' weights; sorted data, and ignored targets that come late."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 5, generator=generator), torch.randint(0, 3, (40,), generator=generator).sort().values
    y[33:] = -100
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2]), label_smoothing=smoothing)
    expected = float(loss(tanh_net()(x), y).detach())
    for sizes in ([40], [16, 16, 8], [7] * 5 + [5]):
        batches = list(zip(x.split(sizes), y.split(sizes), strict=True))
        for micro_batch in (None, 3):
            objective = landscape.Objective(tanh_net(), batches, loss, dtype=dtype, micro_batch=micro_batch)
            assert float(objective.value()) == pytest.approx(expected, rel=1e-5)
            assert not objective.as_given


def test_a_loss_object_may_have_a_count_that_is_no_integer() -> None:
    class Weighted:
        def total(self, output: Tensor, target: Tensor) -> Tensor:
            return (target[:, None] * output.square()).sum()

        def count(self, target: Tensor) -> float:
            return float(target.sum())

    x, weights = torch.randn(20, 5), torch.rand(20)
    objective = landscape.Objective(tanh_net(), [(x[:7], weights[:7]), (x[7:], weights[7:])], Weighted())
    expected = (weights[:, None] * tanh_net()(x).square()).sum() / weights.sum()
    assert float(objective.value()) == pytest.approx(float(expected.detach()), rel=1e-5)
