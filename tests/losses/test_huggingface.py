"""The loss of models that return an object with logits, as a sum with its count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from oracles.dense import dense_hessian
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import TaskError
from landscape.operators import operator

TOKENS = torch.randint(0, 5, (6, 4), generator=torch.Generator().manual_seed(0))
MASK = torch.ones_like(TOKENS).masked_fill(torch.arange(4) >= torch.tensor([4, 3, 4, 2, 4, 1])[:, None], 0)


class CausalLMOutput(dict[str, Any]):
    """What such a model returns: a dictionary whose entries are attributes too."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]  # type: ignore[no-any-return]


class MaskedLMOutput(CausalLMOutput):
    pass


class StrangeOutput(CausalLMOutput):
    pass


class Language(nn.Module):
    def __init__(self, kind: type[CausalLMOutput] = CausalLMOutput) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.kind = kind

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> CausalLMOutput:
        return self.kind(logits=self.head(torch.tanh(self.table(input_ids))))


class Plain(nn.Module):
    """The same model with plain logits, already cut to what is scored."""

    def __init__(self, cut: int) -> None:
        super().__init__()
        self.inner, self.cut = Language(), cut

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.inner(ids)["logits"]
        return logits[:, : logits.shape[1] - self.cut]


LABELS = TOKENS.masked_fill(MASK == 0, -100)
BATCH = {"input_ids": TOKENS, "attention_mask": MASK, "labels": LABELS}


@pytest.mark.parametrize(
    ("kind", "cut", "labels"),
    [(CausalLMOutput, 1, LABELS[:, 1:]), (MaskedLMOutput, 0, LABELS)],
    ids=["causal", "masked"],
)
@pytest.mark.parametrize("micro_batch", [6, 1])
def test_the_hessian_is_that_of_the_plain_loss(
    kind: type[CausalLMOutput], cut: int, labels: Tensor, micro_batch: int
) -> None:
    objective = Objective(Language(kind), BATCH, dtype="float64", micro_batch=micro_batch)
    scored = int((labels != -100).sum())
    assert objective.count == scored
    expected = dense_hessian(Plain(cut), [(TOKENS, labels)])
    torch.testing.assert_close(operator("hessian", objective).to_dense(), expected, rtol=1e-9, atol=1e-12)
    wanted = "next token" if cut else "labels"
    assert objective.notes == (f"loss inferred from the model's output: hf, cross_entropy of the {wanted}",)


def test_the_drawn_fisher_scores_what_the_loss_scores() -> None:
    """Labels that do not count stay out, and its mean over many draws is the Gauss-Newton matrix."""
    objective = Objective(Language(), BATCH, dtype="float64")
    newton = operator("ggn", objective).to_dense()
    drawn = operator("fisher", objective, labels=4000).to_dense()
    assert float((drawn - newton).abs().max()) < 0.05 * float(newton.abs().max())


def test_tokens_without_labels_are_their_own() -> None:
    given = Objective(Language(), BATCH, dtype="float64")
    found = Objective(Language(), {"input_ids": TOKENS, "attention_mask": MASK}, dtype="float64")
    unmasked = Objective(Language(), TOKENS, dtype="float64")
    assert float(given.value()) == float(found.value())
    assert (found.count, unmasked.count) == (12, 18)


@pytest.mark.parametrize(
    ("model", "data", "loss", "message"),
    [
        (
            Language(StrangeOutput),
            BATCH,
            None,
            r"no loss is known for a model that returns a StrangeOutput\n.*\n.*--objective.*--loss",
        ),
        (
            nn.Linear(3, 2),
            (torch.ones(4, 3), torch.zeros(4, 2)),
            "hf",
            r"an object with logits, not a Tensor\n.*--loss",
        ),
        (Plain(0), TOKENS, None, r"integers without targets\n.*\n.*ids\[:, :-1\], ids\[:, 1:\]"),
    ],
    ids=["strange", "tensor", "own-targets"],
)
def test_what_has_no_such_loss_is_said(model: nn.Module, data: Any, loss: str | None, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Objective(model, data, loss)


@pytest.mark.parametrize("data", [{"input_ids": TOKENS}, TOKENS], ids=["dictionary", "tensor"])
def test_only_a_model_of_the_next_token_is_scored_by_its_own_tokens(data: Any) -> None:
    with pytest.raises(TaskError, match=r"the batches have no labels\n.*labels beside"):
        Objective(Language(MaskedLMOutput), data)


def test_a_loss_for_tensors_says_that_the_model_has_its_own() -> None:
    with pytest.raises(TaskError, match=r"the model returns a CausalLMOutput with a loss of its own\n.*--loss hf"):
        Objective(Language(), BATCH, "cross_entropy")


def test_padding_that_is_scored_is_told() -> None:
    model = Language()
    model.config = SimpleNamespace(pad_token_id=0)  # type: ignore[assignment]
    padded = {"input_ids": TOKENS * MASK}
    scored = int((padded["input_ids"][:, 1:] == 0).sum())
    assert f"{scored} scored tokens are 0, as padding is" in Objective(model, padded).notes[-1]
    assert "padding" not in str(
        Objective(model, {"input_ids": TOKENS * MASK + (TOKENS == 0), "attention_mask": MASK}).notes
    )
