"""Cross-entropy by chunks against torch's own, as often as it is differentiated, and its closed forms against dense."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from live_bytes import peak_bytes
from torch import Tensor, nn
from torch.nn import functional

from landscape.compute.memory import watch_saved_tensors
from landscape.losses import softmax
from landscape.losses.builtin import CROSS_ENTROPY
from landscape.losses.huggingface import LogitsLoss
from landscape.losses.softmax import SoftmaxCrossEntropy, SoftmaxTargets, large_softmax, with_last_token
from landscape.losses.user import as_loss

TOKENS, CLASSES = 6, 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(*shape: int, ignored: int = -100) -> Tensor:
    drawn = torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(1))
    drawn.view(-1)[1::3] = ignored
    return drawn


WEIGHT = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
SOFT = normal(TOKENS, CLASSES, seed=3).softmax(1)


class Case(NamedTuple):
    loss: Any
    shape: tuple[int, ...]
    target: Tensor


CASES = {
    "labels": Case("cross_entropy", (TOKENS, CLASSES), labels(TOKENS)),
    "sequences": Case("cross_entropy", (2, 3, CLASSES), labels(2, 3)),
    "classes along axis 1": Case("cross_entropy", (2, CLASSES, 3), labels(2, 3)),
    "short integers": Case("cross_entropy", (TOKENS, CLASSES), labels(TOKENS).int()),
    "probabilities": Case("cross_entropy", (TOKENS, CLASSES), SOFT),
    "module": Case(nn.CrossEntropyLoss(), (2, CLASSES, 3), labels(2, 3)),
    "another ignored label": Case(nn.CrossEntropyLoss(ignore_index=2), (TOKENS, CLASSES), labels(TOKENS, ignored=2)),
    "weights": Case(nn.CrossEntropyLoss(weight=WEIGHT), (TOKENS, CLASSES), labels(TOKENS)),
    "smoothing": Case(nn.CrossEntropyLoss(label_smoothing=0.1), (TOKENS, CLASSES), labels(TOKENS)),
    "weights and smoothing": Case(
        nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.3), (2, CLASSES, 3), labels(2, 3)
    ),
    "weighted smooth probabilities": Case(
        nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.3), (TOKENS, CLASSES), SOFT
    ),
    "no loss is a mean of its own": Case(nn.CrossEntropyLoss(reduction="none"), (TOKENS, CLASSES), labels(TOKENS)),
}


@pytest.fixture
def by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cross-entropy is large, and a chunk holds two tokens."""
    monkeypatch.setattr(softmax, "LARGE_LOGITS", 0)
    monkeypatch.setattr(softmax, "CHUNK_LOGITS", 2 * CLASSES)
    monkeypatch.setattr(softmax, "CHUNKS", 1)


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    case: Case = request.param
    return case


def plain(case: Case) -> Callable[[Tensor], Tensor]:
    """Torch's own cross-entropy of flat logits."""
    loss = case.loss if isinstance(case.loss, nn.Module) else nn.CrossEntropyLoss()
    keywords = {"weight": loss.weight, "ignore_index": loss.ignore_index, "label_smoothing": loss.label_smoothing}
    target = case.target if case.target.is_floating_point() else case.target.long()

    def total(flat: Tensor) -> Tensor:
        logits = flat.view(case.shape)
        if not target.is_floating_point() and target.shape == logits.shape[:-1]:
            logits = logits.movedim(-1, 1)
        return functional.cross_entropy(logits, target, reduction="sum", **keywords)

    return total


def chunked(case: Case) -> Callable[[Tensor], Tensor]:
    loss = as_loss(case.loss)
    return lambda flat: loss.total(flat.view(case.shape), case.target)


@pytest.mark.usefixtures("by_chunks")
def test_the_sum_and_three_derivatives_are_torch_s(case: Case) -> None:
    point = normal(*case.shape).flatten()
    assert large_softmax(as_loss(case.loss), point.view(case.shape), case.target) is not None
    for mine, theirs in zip(derivatives(chunked(case), point), derivatives(plain(case), point), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)


def derivatives(total: Callable[[Tensor], Tensor], point: Tensor) -> list[Tensor]:
    """The value of 3 L, its gradient, and its second and third derivatives along vectors."""
    point = point.clone().requires_grad_()
    value = 3 * total(point)
    found = [value]
    for seed in range(3):
        (gradient,) = torch.autograd.grad(found[-1], point, create_graph=True)
        found += [gradient, (gradient * normal(len(point), seed=seed)).sum()]
    return [each.detach() for each in found]


@pytest.mark.usefixtures("by_chunks")
def test_the_hessian_in_closed_form_is_the_dense_one(case: Case) -> None:
    point = normal(*case.shape).flatten()
    form = as_loss(case.loss).as_softmax(point.view(case.shape), case.target)  # type: ignore[attr-defined]
    vectors = normal(3, *form.logits.shape, seed=7)
    axis = case.shape.index(CLASSES)
    flat = vectors.movedim(-1, axis + 1).reshape(3, -1)
    expected = flat @ torch.autograd.functional.hessian(plain(case), point)
    images = form.multiply_hessian_(vectors)
    assert images is vectors
    torch.testing.assert_close(images.movedim(-1, axis + 1).reshape(3, -1), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("by_chunks")
def test_outer_products_and_overlaps_are_those_of_each_token_s_gradient(case: Case) -> None:
    loss, point = as_loss(case.loss), normal(*case.shape)
    form = loss.as_softmax(point, case.target)  # type: ignore[attr-defined]
    leaf = point.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(plain(case)(leaf), leaf)
    gradient = gradient.movedim(case.shape.index(CLASSES), -1)
    vector = normal(*form.logits.shape, seed=7)
    overlap = (gradient * vector).sum(-1, keepdim=True)
    torch.testing.assert_close(form.overlaps(vector, [form.targets] * 2), torch.stack([overlap.flatten()] * 2))
    images = form.multiply_outer_(vector[None].clone(), [form.targets] * 2)
    torch.testing.assert_close(images[0], gradient * overlap, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("by_chunks")
def test_a_graph_serves_again_and_takes_vectors_together() -> None:
    case = CASES["weights and smoothing"]
    point = normal(*case.shape).flatten().requires_grad_()
    total, expected = chunked(case)(point), torch.autograd.functional.hessian(plain(case), point.detach())
    (first,) = torch.autograd.grad(total, point, create_graph=True)
    (again,) = torch.autograd.grad(2 * total, point, create_graph=True)
    vectors = normal(4, len(point), seed=2)
    (rows,) = torch.autograd.grad(first, point, vectors, retain_graph=True, is_grads_batched=True)
    torch.testing.assert_close(rows, vectors @ expected, rtol=1e-12, atol=1e-13)
    (row,) = torch.autograd.grad(again, point, vectors[0])
    torch.testing.assert_close(row, 2 * expected @ vectors[0], rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("by_chunks")
def test_a_scale_that_is_learned_has_its_derivatives() -> None:
    case, scale = CASES["labels"], torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    point = normal(*case.shape).flatten().requires_grad_()
    found = []
    for total in (chunked(case), plain(case)):
        (gradient,) = torch.autograd.grad(scale.exp() * total(point), point, create_graph=True)
        found.append(torch.autograd.grad((gradient * normal(len(point), seed=4)).sum(), (point, scale)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("by_chunks")
def test_masked_classes_count_nothing() -> None:
    logits = normal(TOKENS, CLASSES)
    logits[:, 4] = -torch.inf
    target = torch.zeros(TOKENS, dtype=torch.long)
    for loss in ("cross_entropy", nn.CrossEntropyLoss(weight=WEIGHT)):
        mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        summed = as_loss(loss).total(mine, target)
        keywords = {"weight": WEIGHT} if isinstance(loss, nn.Module) else {}
        expected = functional.cross_entropy(theirs, target, reduction="sum", **keywords)
        torch.testing.assert_close(summed, expected)
        torch.testing.assert_close(torch.autograd.grad(summed, mine), torch.autograd.grad(expected, theirs))


@pytest.mark.usefixtures("by_chunks")
def test_transforms_of_torch_func_go_torch_s_own_way() -> None:
    case = CASES["sequences"]
    point = normal(*case.shape).flatten()
    torch.testing.assert_close(
        torch.func.hessian(chunked(case))(point), torch.autograd.functional.hessian(plain(case), point)
    )


@pytest.mark.usefixtures("by_chunks")
def test_other_losses_and_shapes_that_do_not_fit_have_no_closed_form() -> None:
    logits, target = normal(TOKENS, CLASSES), labels(TOKENS)
    for loss in (nn.NLLLoss(), "mse", nn.BCEWithLogitsLoss()):
        assert large_softmax(as_loss(loss), logits, target) is None
    assert large_softmax(CROSS_ENTROPY, normal(TOKENS, 1), target) is None
    assert large_softmax(CROSS_ENTROPY, logits, target[:-1]) is None
    assert large_softmax(CROSS_ENTROPY, (logits,), target) is None


def test_few_logits_go_torch_s_own_way() -> None:
    assert large_softmax(CROSS_ENTROPY, normal(TOKENS, CLASSES), labels(TOKENS)) is None


@pytest.mark.usefixtures("by_chunks")
@pytest.mark.parametrize("shifted", [True, False], ids=["next token", "labels"])
def test_the_loss_of_a_language_model_leaves_the_last_token_out_where_it_is_shifted(shifted: bool) -> None:
    whole, target = normal(2, 4, CLASSES).requires_grad_(), labels(2, 4)
    loss = LogitsLoss(CROSS_ENTROPY, shifted=shifted)
    output = loss.structure.scored_output(SimpleNamespace(logits=whole * 1))
    form = large_softmax(loss, output, target)
    assert form is not None
    assert form.logits.shape == whole.shape  # no copy of a part
    logits, expected = (whole[:, :-1], target[:, 1:]) if shifted else (whole, target)
    torch.testing.assert_close(
        loss.total(output, target),
        functional.cross_entropy(logits.flatten(0, 1), expected.flatten(), reduction="sum"),
    )


def test_logits_that_are_no_beginning_of_a_tensor_stay_as_they_are() -> None:
    whole, target = normal(2, 4, CLASSES), labels(2, 4)
    for logits in (whole[:, :-1].clone(), whole[:, 1:], whole[:, :-2], whole.transpose(0, 1)[:, :-1]):
        kept, same = with_last_token(logits, target[:, : logits.shape[1]], -100)
        assert kept is logits
        assert same.shape[1] <= logits.shape[1]
    kept, padded = with_last_token(whole[:, :-1], target[:, 1:], -7)
    assert kept is whole
    assert padded.tolist() == [[*row, -7] for row in target[:, 1:].tolist()]


@pytest.mark.usefixtures("by_chunks")
def test_whoever_weighs_a_graph_is_shown_the_logits_that_it_holds() -> None:
    logits, seen = normal(TOKENS, CLASSES).requires_grad_(), []
    watch_saved_tensors(lambda: CROSS_ENTROPY.total(logits * 1, labels(TOKENS)), seen.append)
    assert any(tensor.shape == (TOKENS, CLASSES) for tensor in seen)


def test_a_gradient_and_a_hessian_product_hold_three_copies_of_the_logits() -> None:
    features, weight = torch.randn(64, 4), torch.randn(20_000, 4, requires_grad=True)
    target = torch.randint(0, 20_000, (64,))

    def product() -> None:
        (gradient,) = torch.autograd.grad(CROSS_ENTROPY.total(features @ weight.T, target), weight, create_graph=True)
        torch.autograd.grad(gradient, weight, torch.ones_like(weight))

    copies = peak_bytes(product) / (64 * 20_000 * 4)
    assert copies <= 3.5


def test_the_forms_are_values() -> None:
    form = SoftmaxCrossEntropy(normal(2, 3).requires_grad_(), SoftmaxTargets(labels(2)))
    assert not form.detach().logits.requires_grad
