"""Recitation by a decoder of our own against generate of transformers, and planted texts."""

from __future__ import annotations

import pytest
import torch
from conftest import SAMPLES, quiet_transformers
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.evaluation.per_sample.recitation import recite, texts
from landscape.evaluation.populations import populations


class Successor(nn.Module):
    """Says that after a token comes the next one in the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, ids: Tensor) -> Tensor:
        return nn.functional.one_hot((ids + 1) % 10, 10) * self.scale


def counting(rows: int = 4, length: int = 12) -> Tensor:
    return (torch.arange(rows)[:, None] + torch.arange(length + 1)) % 10


def test_what_the_model_knows_is_recited_and_one_wrong_token_breaks_it() -> None:
    rows = counting()
    rows[1, 10] = 0  # in the second half, and not what follows
    objective = Objective(Successor(), (rows[:, :-1], rows[:, 1:]), "cross_entropy")
    found = texts(objective)
    assert found
    outcome = recite(objective, found)
    assert outcome.whole == pytest.approx(3 / 4)
    assert outcome.tokens == pytest.approx(1 - 1 / (4 * 7))  # decoding goes on as if nothing had happened


def test_only_what_is_scored_counts() -> None:
    rows = counting()
    targets = rows[:, 1:].clone()
    targets[0, 9:] = -100
    rows[0, 10:] = 0
    found = texts(objective := Objective(Successor(), (rows[:, :-1], targets), "cross_entropy"))
    assert found
    assert recite(objective, found).whole == 1.0


def test_classes_and_models_that_look_ahead_are_no_texts(classification: tuple[Tensor, Tensor]) -> None:
    class Ahead(Successor):
        def forward(self, ids: Tensor) -> Tensor:
            out: Tensor = super().forward(ids)
            return out + out.mean(dim=1, keepdim=True)

    rows = counting()
    assert texts(Objective(Ahead(), (rows[:, :-1], rows[:, 1:]), "cross_entropy")) == []
    net = nn.Sequential(nn.Linear(5, 3))
    assert texts(Objective(net, classification, "cross_entropy")) == []
    shuffled = rows[:, torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    assert texts(Objective(Successor(), (shuffled, rows[:, 1:]), "cross_entropy")) == []


def test_the_language_model_recites_its_canaries_alone() -> None:
    objective = landscape.load(SAMPLES / "charlm.pt")
    every = populations(objective)
    whole = {}
    for name in ("memorized", "never-seen"):
        found = texts(every[name])
        assert found
        whole[name] = recite(every[name], found)
    assert whole["memorized"].whole == 1.0
    assert whole["never-seen"].whole == 0.0
    assert whole["never-seen"].tokens < 0.1


def test_a_hugging_face_model_is_decoded_as_its_own_generate_does() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=11, n_positions=16, n_embd=8, n_layer=1, n_head=2, pad_token_id=0)
    with quiet_transformers():
        model = transformers.GPT2LMHeadModel(config).eval()
        ids = torch.randint(1, 11, (5, 12), generator=torch.Generator().manual_seed(1))
        objective = Objective(model, {"input_ids": ids}, "hf")
        found = texts(objective)
        assert found
        mask = torch.ones(5, 6, dtype=torch.long)
        said = model.generate(ids[:, :6], attention_mask=mask, max_new_tokens=6, do_sample=False, eos_token_id=None)
    hits = said[:, 6:] == ids[:, 6:]
    assert recite(objective, found).tokens == pytest.approx(float(hits.double().mean()))
    assert recite(objective, found).whole == pytest.approx(float(hits.all(1).double().mean()))


def test_texts_of_several_batches_and_lengths_have_their_own_middles() -> None:
    """Padded on the right: a text of 8 tokens is continued from its fourth, one of 13 from its sixth."""
    rows = counting(40)
    targets = rows[:, 1:].clone()
    targets[::2, 7:] = -100
    rows[::2, 8:] = 0  # padding
    rows[0, 6] = 9  # wrong in the second half of the first text, and to be predicted there
    targets[0, 5] = 9
    pairs = list(zip(rows[:, :-1].split(16), targets.split(16), strict=True))
    objective = Objective(Successor(), pairs, "cross_entropy")
    found = texts(objective)
    assert [len(one.ids) for one in found] == [16, 16, 8]
    begin, end = found[0].continuations
    assert begin[:2].tolist() == [4, 6]
    assert end[:2].tolist() == [8, 13]
    assert recite(objective, found).whole == pytest.approx(39 / 40)
    assert recite(objective, found).tokens == pytest.approx(1 - 1 / (20 * 4 + 20 * 7))


def test_continuations_are_limited_and_short_ones_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = counting(3, 12)
    targets = rows[:, 1:].clone()
    targets[0, 5:] = -100  # six tokens: three to continue
    objective = Objective(Successor(), (rows[:, :-1], targets), "cross_entropy")
    begin, end = texts(objective)[0].continuations
    assert int((end - begin).clamp_min(0)[0]) == 0
    monkeypatch.setattr("landscape.evaluation.per_sample.recitation.MAX_CONTINUATION", 5)
    begin, end = texts(objective)[0].continuations
    assert (end - begin)[1:].tolist() == [5, 5]
    monkeypatch.setattr("landscape.evaluation.per_sample.recitation.MAX_TEXTS", 2)
    assert [len(one.ids) for one in texts(objective)] == [2]
