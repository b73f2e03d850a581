"""Products for a large vocabulary: by chunks of tokens, equal to torch's own way, and in the memory of few copies."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from live_bytes import peak_bytes
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.strategy import ProductSettings
from landscape.losses import softmax
from landscape.operators import EmpiricalFisherOperator, FisherOperator, GaussNewtonOperator, HessianOperator, pullback
from landscape.operators.summed import SummedOperator

WAYS = {
    "hessian": HessianOperator,
    "ggn": GaussNewtonOperator,
    "empirical-fisher": EmpiricalFisherOperator,
    "fisher": lambda objective: FisherOperator(objective, seed=3, labels=2),
}


class Output(dict[str, Tensor]):
    """An output as Hugging Face's causal models return it."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]


class TinyCausalLMOutput(Output):
    pass


TinyCausalLMOutput.__name__ = "TinyCausalLMOutput"


class LanguageModel(nn.Module):
    """Tied embeddings with a tanh between; returns an object with logits, or the logits alone."""

    def __init__(self, vocabulary: int, width: int = 3, *, bare: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.inner, self.bare = nn.Embedding(vocabulary, width), nn.Linear(width, width), bare

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        logits = torch.tanh(self.inner(self.table(input_ids))) @ self.table.weight.T
        return logits if self.bare else TinyCausalLMOutput(logits=logits)


def ragged(vocabulary: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    batches = []
    for samples, length in ((3, 5), (1, 4), (2, 6)):
        mask = torch.ones(samples, length, dtype=torch.long)
        mask[0, -1] = 0
        ids = torch.randint(0, vocabulary, (samples, length), generator=generator)
        batches.append({"input_ids": ids, "attention_mask": mask})
    return batches


@pytest.fixture(params=["next token", "labels"])
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Any, str]:
    if request.param == "next token":
        return LanguageModel(11), ragged(11), "hf"
    pairs = [(batch["input_ids"], batch["input_ids"].flip(1)) for batch in ragged(11)]
    return LanguageModel(11, bare=True), pairs, "cross_entropy"


@pytest.mark.parametrize("kind", list(WAYS))
@pytest.mark.parametrize("hvp", ["loop", "vmap"])
def test_products_by_chunks_are_torch_s(
    case: tuple[nn.Module, Any, str], kind: str, hvp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, loss = case

    def operator() -> SummedOperator:
        objective = Objective(model, data, loss, dtype="float64", settings=ProductSettings(hvp=hvp), micro_batch=2)
        return WAYS[kind](objective)  # type: ignore[return-value]

    plain = operator()
    block = torch.randn(plain.size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected, gradient = plain.matmat(block), plain.objective.gradient()
    by_chunks(monkeypatch)
    mine = operator()
    for _ in range(3):  # graphs that are built, kept, and checked
        torch.testing.assert_close(mine.matmat(block), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(mine.objective.gradient(), gradient, rtol=1e-12, atol=1e-14)


def test_the_variances_by_the_labels_are_the_same(
    case: tuple[nn.Module, Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, loss = case
    block = torch.randn(Objective(model, data, loss).space.size, 3, dtype=torch.float64)

    def variances() -> tuple[Tensor, float]:
        return FisherOperator(Objective(model, data, loss, dtype="float64"), seed=3).label_variances(block)

    expected = variances()
    by_chunks(monkeypatch)
    mine = variances()
    torch.testing.assert_close(mine[0], expected[0], rtol=1e-11, atol=0)
    assert mine[1] == pytest.approx(expected[1], rel=1e-11)


class Table(nn.Module):
    """Logits that are the parameters: the Jacobian is the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(1, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, place: Tensor) -> Tensor:
        return self.logits.view(1, 5)


def test_a_model_that_returns_its_parameters_leaves_the_vectors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    by_chunks(monkeypatch)
    monkeypatch.setattr(pullback, "SCALAR_ENTRIES", 0)  # as with a million parameters: vectors are passed as they are
    objective = Objective(Table(), [(torch.zeros(1), torch.tensor([2]))], "cross_entropy", dtype="float64")
    block = torch.randn(5, 1, dtype=torch.float64)
    kept = block.clone()
    batch = next(objective.micro_batches())
    GaussNewtonOperator(objective).graph(batch)(block, chunk_size=1, retain_graph=False)
    assert block.equal(kept)


@pytest.mark.parametrize("kind", list(WAYS))
def test_a_product_holds_at_most_four_copies_of_the_logits(kind: str) -> None:
    vocabulary, tokens = 20_000, 64
    model = LanguageModel(vocabulary, width=2)
    data = [{"input_ids": torch.randint(0, vocabulary, (2, tokens // 2))}]
    operator = WAYS[kind](Objective(model, data, "hf"))
    batch = next(operator.objective.micro_batches())
    assert tokens * vocabulary > softmax.LARGE_LOGITS
    vector = torch.randn(operator.size, 1)

    def product() -> None:
        operator.graph(batch)(vector, chunk_size=1, retain_graph=False)

    product()
    assert peak_bytes(product) <= 4 * tokens * vocabulary * 4


def by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cross-entropy is large, and a chunk holds two tokens."""
    monkeypatch.setattr(softmax, "LARGE_LOGITS", 0)
    monkeypatch.setattr(softmax, "CHUNK_LOGITS", 22)
    monkeypatch.setattr(softmax, "CHUNKS", 1)
