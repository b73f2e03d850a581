"""A metric beside the loss: what may be one, and that it must be a mean over samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.evaluation.metrics import as_metric, metric_total
from landscape.evaluation.sweep import Sweep

Data = tuple[Tensor, Tensor]
OUTPUT = torch.tensor([[1.0, 3.0], [2.0, 5.0], [0.0, 4.0]])
BATCH = Batch(torch.zeros(3, 1), torch.tensor([0, 1, 1]), 0)


def test_a_function_may_return_a_number_a_tensor_or_one_value_per_sample() -> None:
    expected = float(OUTPUT.amax(1).sum())
    for function in (
        lambda output, target: float(output.amax(1).mean()),
        lambda output, target: output.amax(1).mean(),
        lambda output, target: output.amax(1),
    ):
        total = metric_total(as_metric(function), OUTPUT, BATCH)
        assert total.dtype == torch.float64
        assert float(total) == pytest.approx(expected)


def test_a_metric_is_named_by_a_loss_or_by_a_file(tmp_path: Path) -> None:
    assert as_metric("cross_entropy").name == "cross_entropy"
    (tmp_path / "mine.py").write_text("def share(output, target):\n    return (output > 2).double().mean(1)\n")
    metric = as_metric(f"{tmp_path / 'mine.py'}:share")
    assert float(metric_total(metric, OUTPUT, BATCH)) == pytest.approx(0.5 * 3)


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(TaskError, match=r"no metric called f1\n.*--metric pkg.mod:function"):
        as_metric("f1")


def test_an_exception_of_the_user_s_code_names_the_metric() -> None:
    def broken(output: Tensor, target: Tensor) -> Tensor:
        raise ValueError("no such thing")

    with pytest.raises(TaskError, match=r"metric .*broken fails on a batch: ValueError: no such thing"):
        metric_total(as_metric(broken), OUTPUT, BATCH)


@pytest.mark.parametrize(
    "function",
    [lambda output, target: output.sum(), lambda output, target: (output - output.mean(0)).square().mean()],
    ids=["sum", "depends-on-other-samples"],
)
def test_a_metric_that_is_no_mean_over_samples_is_refused(classification: Data, function: object) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(TaskError, match=r"metric .* is not a mean over samples: .*\n.*\n.*one value per sample"):
        Sweep(objective, as_metric(function))
