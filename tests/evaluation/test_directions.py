"""Directions, and how they are normalized."""

from __future__ import annotations

import pytest
import torch
from conftest import quiet_transformers
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import UsageError
from landscape.evaluation.directions import (
    apply_treatments,
    gaussian_direction,
    rows_without_gradient,
    treatments,
    zero_filter_count,
)
from landscape.zoo import mlp

DEFAULT = ("bias", "norm", "position")


class Everything(nn.Module):
    """One layer of each kind whose filters lie differently."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(7, 4)
        self.conv = nn.Conv2d(1, 3, 3)
        self.up = nn.ConvTranspose2d(3, 4, 2, groups=1)
        self.grouped = nn.ConvTranspose2d(4, 6, 2, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.pos_embed = nn.Parameter(torch.randn(1, 5))
        self.head = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.grouped(self.up(self.conv(x)))).mean(dim=(2, 3))
        out, _ = self.lstm(hidden[:, None])
        ids = (x.flatten(1)[:, 0] > 0).long()
        joined: Tensor = self.head(torch.cat([out[:, 0] + self.pos_embed, self.tokens(ids)], dim=1))
        return joined


@pytest.fixture
def objective() -> Objective:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 1, 5, 5, generator=generator)
    y = torch.randint(0, 3, (12,), generator=generator)
    return Objective(Everything(), [(x, y)], "cross_entropy", dtype="float64")


def named(objective: Objective, vector: Tensor) -> dict[str, Tensor]:
    return objective.space.unflatten(vector)


def rows(name: str, tensor: Tensor) -> Tensor:
    """The filters by hand."""
    if name == "up.weight":
        return tensor.transpose(0, 1).flatten(1)
    if name == "grouped.weight":  # inputs (2 groups of 2) x 3 outputs each
        return torch.cat([half.transpose(0, 1).flatten(1) for half in tensor.chunk(2)])
    return tensor.flatten(1)


def test_every_filter_has_the_norm_of_the_weights_filter(objective: Objective) -> None:
    done = treatments(objective, "filter", DEFAULT)
    moves, weights = (named(objective, v) for v in (gaussian_direction(objective, done, 0, "a"), objective.theta))
    filtered = {one.block.name: one.scaled_parts for one in done if one.how == "filter"}
    assert filtered == {
        "tokens.weight": 7,
        "conv.weight": 3,
        "up.weight": 4,
        "grouped.weight": 6,
        "lstm.weight_ih_l0": 20,
        "lstm.weight_hh_l0": 20,
        "head.weight": 3,
    }
    for name, count in filtered.items():
        move, weight = rows(name, moves[name]), rows(name, weights[name])
        assert len(move) == count
        assert torch.allclose(move.norm(dim=1), weight.norm(dim=1), rtol=1e-14), name
    ignored = {one.block.name for one in done if one.how == "ignored"}
    assert ignored == set(weights) - set(filtered)
    assert not any(moves[name].any() for name in ignored)


def test_gpt2_s_filters_are_columns() -> None:
    transformers = pytest.importorskip("transformers")
    with quiet_transformers():
        model = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        )
    ids = torch.randint(0, 10, (4, 8), generator=torch.Generator().manual_seed(0))
    objective = Objective(model, {"input_ids": ids, "labels": ids})
    done = treatments(objective, "filter", DEFAULT)
    moves, weights = (named(objective, v) for v in (gaussian_direction(objective, done, 0, "a"), objective.theta))
    name = "transformer.h.0.attn.c_attn.weight"
    assert moves[name].shape == (8, 24)
    assert torch.allclose(moves[name].norm(dim=0), weights[name].norm(dim=0), rtol=1e-5)
    tables = [n for n in weights if "wte" in n or "lm_head" in n]
    assert len(tables) == 1  # tied: it moves once


def test_what_has_no_filters_is_scaled_as_a_whole(objective: Objective) -> None:
    done = treatments(objective, "filter", ("none",))
    moves, weights = (named(objective, v) for v in (gaussian_direction(objective, done, 0, "a"), objective.theta))
    for name in ("conv.bias", "norm.weight", "pos_embed", "lstm.bias_ih_l0"):
        assert float(moves[name].norm()) == pytest.approx(float(weights[name].norm()), rel=1e-12)
    assert not moves["norm.bias"].any()  # its weights are 0


def test_layers_and_tensors(objective: Objective) -> None:
    weights = named(objective, objective.theta)
    by_tensor = named(objective, gaussian_direction(objective, treatments(objective, "tensor", ("bias",)), 0, "a"))
    assert float(by_tensor["conv.weight"].norm()) == pytest.approx(float(weights["conv.weight"].norm()))
    by_layer = named(objective, gaussian_direction(objective, treatments(objective, "layer", ("none",)), 0, "a"))
    parts = [torch.cat([side[f"conv.{n}"].flatten() for n in ("weight", "bias")]) for side in (by_layer, weights)]
    assert float(parts[0].norm()) == pytest.approx(float(parts[1].norm()))
    without = named(objective, gaussian_direction(objective, treatments(objective, "layer", ("bias",)), 0, "a"))
    assert float(without["conv.weight"].norm()) == pytest.approx(float(weights["conv.weight"].norm()))
    assert not without["conv.bias"].any()
    raw = gaussian_direction(objective, treatments(objective, "none", ("none",)), 0, "a")
    assert float(raw.std()) == pytest.approx(1, rel=0.1)


def test_two_directions_are_nearly_orthogonal() -> None:
    """|cos| < 5 / sqrt(n_eff), n_eff = (sum ||w_f||^2)^2 / sum(||w_f||^4 / n_f)."""
    objective = Objective(mlp(), [(torch.randn(4, 64), torch.zeros(4).long())], "cross_entropy")
    done = treatments(objective, "filter", DEFAULT)
    filters = [
        (row.norm() ** 2, len(row)) for n, w in named(objective, objective.theta).items() if w.ndim > 1 for row in w
    ]
    effective = sum(s for s, _ in filters) ** 2 / sum(s**2 / n for s, n in filters)
    cosines = []
    for seed in range(20):
        one, other = (gaussian_direction(objective, done, seed, axis) for axis in range(2))
        cosines.append(float(torch.dot(one, other) / one.norm() / other.norm()))
    assert max(map(abs, cosines)) < 5 / float(effective) ** 0.5
    assert sum(c > 0 for c in cosines) in range(3, 18)  # of both signs


def test_a_filter_of_zeros_does_not_move_and_is_counted(objective: Objective) -> None:
    objective.space.unflatten(objective.theta)["conv.weight"][1].zero_()
    done = treatments(objective, "filter", DEFAULT)
    moves = named(objective, gaussian_direction(objective, done, 0, "a"))
    assert zero_filter_count(objective, done) == 1
    assert not moves["conv.weight"][1].any()
    assert moves["conv.weight"][0].any()


def test_rows_of_tokens_that_the_data_lack_are_counted(objective: Objective) -> None:
    assert rows_without_gradient(objective) == {"tokens.weight": 5}  # of 7, ids 0 and 1 occur
    assert rows_without_gradient(Objective(mlp(), [(torch.randn(4, 64), torch.zeros(4).long())], "cross_entropy")) == {}


def test_globs_and_what_matches_nothing(objective: Objective) -> None:
    done = {one.block.name: one.how for one in treatments(objective, "filter", ("bias", "lstm.*"))}
    assert done["lstm.weight_hh_l0"] == done["conv.bias"] == "ignored"
    assert done["norm.weight"] == "tensor"
    with pytest.raises(UsageError, match=r"matches --ignore cnov"):
        treatments(objective, "filter", ("cnov.*",))
    with pytest.raises(UsageError, match="no weight may move"):
        treatments(objective, "filter", ("*",))


def test_a_direction_of_one_s_own_is_treated_too(objective: Objective) -> None:
    done = treatments(objective, "filter", DEFAULT)
    move = named(objective, apply_treatments(torch.ones_like(objective.theta), objective, done))["head.weight"]
    weight = named(objective, objective.theta)["head.weight"]
    assert torch.allclose(move, (weight.norm(dim=1, keepdim=True) / 3).expand_as(move))
