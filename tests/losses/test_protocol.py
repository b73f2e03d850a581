"""What a loss declares of its output: axes, masks and shifts; and that a user's loss gains what it declares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from token_models import Data, Texts, Tokens, collected, labeled_tokens, next_tokens
from torch import Tensor
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError, UsageError
from landscape.evaluation.fisher_labels import choose_labels
from landscape.evaluation.per_sample.recitation import recite, texts
from landscape.evaluation.sweep import Plane, Sweep
from landscape.losses.builtin import CROSS_ENTROPY
from landscape.losses.predictions import divergences, error_counts
from landscape.losses.protocol import OutputStructure, Uniform, is_likelihood
from landscape.losses.user import as_loss
from landscape.operators import operator

LABELS = torch.tensor([[0, 1, -100], [2, -100, -100]])


@pytest.mark.parametrize(
    ("structure", "shape", "labels", "axis"),
    [
        (OutputStructure("classes"), (2, 3, 5), torch.zeros(2, 3).long(), 2),
        (OutputStructure("classes"), (2, 5, 3), torch.zeros(2, 3).long(), 1),
        (OutputStructure("classes"), (2, 5), torch.zeros(2, 5), 1),
        (OutputStructure("classes", class_axis=-1), (2, 5, 3), torch.zeros(2, 3).long(), 2),
        (OutputStructure("classes", class_axis=1), (2, 3, 3), torch.zeros(2, 3).long(), 1),
        (OutputStructure("classes", shift=True), (2, 2, 5), torch.zeros(2, 3).long(), 2),
        (OutputStructure("binary"), (2, 3), torch.zeros(2, 3), None),
        (OutputStructure(), (2, 3), torch.zeros(2), None),
    ],
    ids=["last", "torch-s", "probabilities", "declared-last", "declared-second", "shifted", "binary", "unknown"],
)
def test_the_axis_of_the_classes(
    structure: OutputStructure, shape: tuple[int, ...], labels: Tensor, axis: int | None
) -> None:
    assert structure.axis(torch.zeros(shape), labels) == axis


def test_outputs_in_containers_have_no_class_axis() -> None:
    assert OutputStructure("classes").axis((torch.zeros(2, 3),), torch.zeros(2).long()) is None


def test_labels_that_count() -> None:
    structure, output = OutputStructure("classes"), torch.zeros(2, 3, 4)
    mask = structure.label_mask(output, LABELS)
    assert mask is not None
    assert mask.tolist() == [[True, True, False], [True, False, False]]
    other = OutputStructure("classes", ignore_index=2).label_mask(output, LABELS)
    assert other is not None
    assert other.tolist() == [[True, True, True], [False, True, True]]
    assert structure.label_mask(torch.zeros(2, 3), torch.zeros(2, 3)) is None  # class probabilities
    assert OutputStructure("binary").label_mask(output, LABELS) is None


def test_a_shift_leaves_out_the_last_output_and_the_first_label() -> None:
    structure, output = OutputStructure("classes", shift=True), torch.arange(6.0).view(1, 3, 2)
    assert torch.equal(structure.scored_output(output), output[:, :2])
    assert torch.equal(structure.labels(LABELS), LABELS[:, 1:])


class Declared:
    """Cross-entropy as a user may write it, over logits and labels of any shape, with its structure declared."""

    name = "declared"
    structure = OutputStructure("classes", canonical_link=True, likelihood=True)

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        labels = self.structure.labels(target).reshape(-1)
        return functional.cross_entropy(output.reshape(-1, output.shape[-1]), labels, reduction="sum")

    def count(self, target: Tensor) -> int:
        return int((self.structure.labels(target) != -100).sum())

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        return CROSS_ENTROPY.sample(output, self.structure.labels(target), uniform)


class Silent:
    """The same loss without a declaration, and without a distribution."""

    name = "silent"
    total = Declared.total
    count = Declared.count
    structure = None

    def __init__(self) -> None:
        self.total = Declared().total  # type: ignore[method-assign]
        self.count = Declared().count  # type: ignore[method-assign]


@pytest.fixture
def tokens(generator: torch.Generator) -> Data:
    return labeled_tokens(generator)


def test_a_declared_loss_has_accuracies_as_the_built_in_one(classification: Data) -> None:
    built_in, declared, silent = (
        Sweep(Objective(tanh_net(), [classification], loss)) for loss in ("cross_entropy", Declared(), Silent())
    )
    assert built_in.columns == declared.columns == ("loss", "accuracy")
    assert silent.columns == ("loss",)
    plane = Plane((torch.ones_like(built_in.objective.theta),))
    assert np.array_equal(built_in.evaluate(plane, [[0.1]]), declared.evaluate(plane, [[0.1]]))


@pytest.mark.parametrize("kind", ["empirical-fisher", "fisher"])
def test_a_declared_loss_has_the_same_fisher_matrices(tokens: Data, kind: str) -> None:
    matrices = [
        operator(kind, Objective(Tokens(), [tokens], loss, dtype="float64")).to_dense()
        for loss in ("cross_entropy", Declared())
    ]
    assert torch.equal(*matrices)


def test_an_undeclared_loss_has_one_datum_per_sample_and_no_labels_to_draw(tokens: Data) -> None:
    silent = Objective(Tokens(), [tokens], Silent(), dtype="float64")
    declared = Objective(Tokens(), [tokens], Declared(), dtype="float64")
    by_sample, by_token = (operator("empirical-fisher", one).to_dense() for one in (silent, declared))
    assert not torch.allclose(by_sample, by_token)
    with pytest.raises(TaskError, match="silent is not the likelihood"):
        operator("fisher", silent)


@pytest.mark.parametrize("labels", ["exact", "sampled", "gold"])
def test_a_declared_loss_has_the_same_factors_of_layers(tokens: Data, labels: str) -> None:
    """The tokens without a label are left out, and the exact expectation over labels is known."""
    factors = [
        collected(Objective(Tokens(), [tokens], loss, dtype="float64"), labels)  # type: ignore[arg-type]
        for loss in ("cross_entropy", Declared())
    ]
    for name, factor in factors[0].items():
        assert torch.equal(factor.g, factors[1][name].g)
        assert factor.tokens == factors[1][name].tokens
    assert int(factors[1]["out"].tokens) == 53


def test_an_undeclared_loss_has_no_exact_labels(classification: Data) -> None:
    declared, silent = (Objective(tanh_net(), [classification], loss) for loss in (Declared(), Silent()))
    assert choose_labels(declared, None) == "exact"
    with pytest.raises(TaskError, match="--labels gold"):
        choose_labels(silent, None)
    with pytest.raises(UsageError, match="exact does not know loss silent"):
        collected(silent, "exact")


def test_predictions_of_a_declared_loss_are_judged_and_compared(tokens: Data) -> None:
    declared, silent = as_loss(Declared()), as_loss(Silent())
    outputs = torch.randn(2, 12, 5, 3, generator=torch.Generator().manual_seed(1))
    before, after = outputs
    assert error_counts(declared, before, tokens[1]) == error_counts(CROSS_ENTROPY, before, tokens[1])
    found, wanted = (divergences(loss, before, after, tokens[1]) for loss in (declared, CROSS_ENTROPY))
    assert found is not None
    assert wanted is not None
    assert torch.equal(found, wanted)
    assert error_counts(silent, before, tokens[1]) is None
    assert divergences(silent, before, after, tokens[1]) is None


class Shifted(Declared):
    """Scores the logits at a token against the next token."""

    name = "shifted"
    structure = OutputStructure("classes", shift=True, canonical_link=True)


class Cut(Texts):
    """The model whose outputs are cut by hand to what is scored."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids)[:, :-1]


def test_a_declared_shift_is_that_of_a_model_and_labels_cut_by_hand(generator: torch.Generator) -> None:
    ids, _ = next_tokens(generator)
    shifted = Objective(Texts(), (ids, ids), Shifted(), dtype="float64")
    by_hand = Objective(Cut(), (ids, ids[:, 1:]), "cross_entropy", dtype="float64")
    assert shifted.count == by_hand.count == ids[:, 1:].numel()
    assert float(shifted.value()) == float(by_hand.value())
    assert torch.equal(operator("hessian", shifted) @ shifted.theta, operator("hessian", by_hand) @ by_hand.theta)
    factor = collected(shifted, "gold")["head"]
    assert int(factor.tokens) == shifted.count  # the last token of a text has no label


def test_texts_of_a_declared_shift_are_recited_as_those_of_labels_beside_them(generator: torch.Generator) -> None:
    ids, _ = next_tokens(generator)
    shifted = Objective(Texts(), (ids, ids), Shifted())
    beside = Objective(Texts(), (ids[:, :-1], ids[:, 1:]), "cross_entropy")
    assert texts(shifted)
    assert recite(shifted, texts(shifted)).tokens == recite(beside, texts(beside)).tokens


def test_a_loss_with_sample_and_no_declaration_is_a_likelihood_of_unknown_structure() -> None:
    class Sampling(Silent):
        def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
            return target + 1

    loss = as_loss(Sampling())
    assert is_likelihood(loss)
    assert loss.sample(LABELS.float(), LABELS, lambda shape: torch.zeros(shape)).tolist() == (LABELS + 1).tolist()
    assert loss.structure.kind == "unknown"
    assert not is_likelihood(as_loss(Silent()))
