"""Running statistics of BatchNorm: pooled over batches, interpolated between models, and absent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from landscape.errors import TaskError
from landscape.network.batch_norm import (
    StatisticsInterpolation,
    batch_norm_layers,
    recompute_statistics,
    statistic_names,
)


def test_a_layer_that_no_data_pass_cannot_be_recomputed() -> None:
    model = nn.ModuleDict({"used": nn.BatchNorm1d(3), "unused": nn.BatchNorm1d(3)}).eval()
    with pytest.raises(TaskError, match="no data pass through unused"):
        recompute_statistics(model, lambda: (model["used"](torch.randn(4, 3)) for _ in range(2)))


def test_statistics_are_pooled_over_ragged_batches() -> None:
    """The first layer's inputs do not depend on the batches: its statistics are those of all data."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3)).double().eval()
    x = torch.randn(11, 2, 6, dtype=torch.float64)

    def passes() -> Iterator[Tensor]:
        return (model(part) for part in x.split([5, 5, 1]))

    recompute_statistics(model, passes)
    seen = model[0](x).transpose(1, 2).flatten(0, 1)
    assert torch.allclose(model[1].running_mean, seen.mean(0), rtol=1e-12)
    assert torch.allclose(model[1].running_var, seen.var(0, correction=0), rtol=1e-12)
    assert not model[1].training


def test_interpolated_statistics_meet_both_ends_and_stay_positive() -> None:
    a = {"n.running_mean": torch.tensor([0.0, 2.0]), "n.running_var": torch.tensor([1.0, 4.0])}
    b = {"n.running_mean": torch.tensor([1.0, 0.0]), "n.running_var": torch.tensor([2.0, 1.0])}
    between = StatisticsInterpolation(a, [b])
    assert torch.equal(between.at([0.0])["n.running_var"], a["n.running_var"])
    assert torch.equal(between.at([1.0])["n.running_mean"], b["n.running_mean"])
    assert between.at([0.5])["n.running_var"].tolist() == [1.5, 2.5]
    assert between.at([2.0])["n.running_var"].tolist() == [3.0, 1.0]  # 4 + 2 (1 - 4) would be negative
    assert between.at([-1.0])["n.running_mean"].tolist() == [-1.0, 4.0]


def test_layers_without_running_statistics_have_none() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.BatchNorm1d(3), nn.LayerNorm(3))
    assert list(batch_norm_layers(model)) == ["1"]
    assert statistic_names(model) == ["1.running_mean", "1.running_var"]
