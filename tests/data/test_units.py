"""Measurements of batches that are units, against dense computations by torch alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graph_models import GraphNet, graphs
from token_models import layers
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from landscape import Objective
from landscape.errors import TaskError, UsageError
from landscape.evaluation.fisher_labels import draw_labels
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.per_sample import scores
from landscape.evaluation.per_sample.gradients import gradient_moments
from landscape.evaluation.per_sample.outcomes import sample_outcomes
from landscape.operators import EmpiricalFisherOperator, GaussNewtonOperator, HessianOperator


def objective_of_graphs(loss: Any = "cross_entropy", **options: Any) -> Objective:
    return Objective(GraphNet(), graphs(), loss, dtype="float64", **options)


NET = GraphNet().double()


def logits(theta: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    """The output on one graph as a function of the parameters in one vector."""
    parts = theta.split([parameter.numel() for parameter in NET.parameters()])
    named = {n: part.view_as(own) for part, (n, own) in zip(parts, NET.named_parameters(), strict=True)}
    return torch.func.functional_call(NET, named, inputs)


def loss_of(theta: Tensor, inputs: tuple[Any, ...], labels: Tensor) -> Tensor:
    """The summed loss of one graph as a function of the parameters in one vector."""
    return functional.cross_entropy(logits(theta, inputs), labels, reduction="sum")


def mean_loss(theta: Tensor) -> Tensor:
    """The mean over the nodes of all graphs."""
    total = sum(loss_of(theta, inputs, labels) for inputs, labels in graphs())
    return total / sum(len(labels) for _, labels in graphs())


@pytest.mark.parametrize("loss", ["cross_entropy", functional.cross_entropy], ids=["named", "function"])
def test_value_and_hessian_of_graphs_are_those_of_torch(loss: Any) -> None:
    objective = objective_of_graphs(loss)
    assert float(objective.value()) == pytest.approx(float(mean_loss(objective.theta)), rel=1e-14)
    dense = torch.autograd.functional.hessian(mean_loss, objective.theta)
    assert torch.allclose(HessianOperator(objective).to_dense(), dense, atol=1e-13)
    assert objective.batches.samples == 3
    assert [note for note in objective.notes if "each batch is one unit" in note] == [objective.batches.note]


def test_the_gauss_newton_matrix_is_that_of_torch() -> None:
    objective = objective_of_graphs()
    wanted = torch.zeros(len(objective.theta), len(objective.theta), dtype=torch.float64)
    for inputs, _ in graphs():
        rows = torch.func.jacrev(logits)(objective.theta, inputs)
        for node, row in zip(logits(objective.theta, inputs).softmax(dim=1), rows, strict=True):
            wanted += row.T @ (torch.diag(node) - torch.outer(node, node)) @ row
    assert torch.allclose(GaussNewtonOperator(objective).to_dense(), wanted / objective.count, atol=1e-13)


def test_limit_micro_batch_first_and_parts_take_whole_graphs() -> None:
    whole = objective_of_graphs()
    totals = [float(loss_of(whole.theta, *graph)) for graph in graphs()]
    assert float(objective_of_graphs(limit=2).value()) == pytest.approx(sum(totals[:2]) / 11, rel=1e-14)
    assert float(objective_of_graphs(micro_batch=2).value()) == pytest.approx(sum(totals) / 18, rel=1e-14)
    assert float(whole.first(2).value()) == pytest.approx(totals[0] / 6, rel=1e-14)
    assert [float(part.value()) * part.count for part in whole.parts(2)] == pytest.approx(
        [totals[0] + totals[1], totals[2]], rel=1e-14
    )


class TestSamples:
    """A unit is what single samples are elsewhere."""

    def test_losses_and_accuracies_are_those_of_graphs(self) -> None:
        objective = objective_of_graphs()
        found = sample_outcomes(objective)
        assert found.losses.tolist() == pytest.approx([float(loss_of(objective.theta, *graph)) for graph in graphs()])
        assert found.counts.tolist() == [6, 5, 7]
        right = [(logits(objective.theta, inputs).argmax(1) == labels).sum() for inputs, labels in graphs()]
        assert found.right.tolist() == right

    def test_gradients_are_those_of_graphs(self) -> None:
        objective = objective_of_graphs()
        rows = torch.stack([torch.func.grad(loss_of)(objective.theta, *graph) for graph in graphs()])
        squares, along = gradient_moments(objective)
        assert float(squares) == pytest.approx(float(rows.square().sum()), rel=1e-12)
        assert float(along) == pytest.approx(float((rows @ objective.theta).square().sum()), rel=1e-12)
        found = scores.gradient_squares(objective, layers(objective), FactorSettings("gold"), objective.theta)
        inside = torch.cat([torch.full((b.size,), b.name.endswith("weight")) for b in objective.space.blocks])
        means = rows / torch.tensor([[6.0], [5.0], [7.0]])
        assert torch.allclose(found[:, 0], means[:, inside].square().sum(dim=1), rtol=1e-12)

    def test_an_edit_s_effects_are_those_on_graphs(self) -> None:
        objective = objective_of_graphs()
        damage, divergence = scores.edit_effects(objective, 0.5 * objective.theta).T
        for place, (inputs, labels) in enumerate(graphs()):
            was, now = (logits(t, inputs) for t in (objective.theta, 0.5 * objective.theta))
            rise = functional.cross_entropy(now, labels) - functional.cross_entropy(was, labels)
            kl = functional.kl_div(now.log_softmax(1), was.log_softmax(1), reduction="sum", log_target=True)
            assert float(damage[place]) == pytest.approx(float(rise), rel=1e-12)
            assert float(divergence[place]) == pytest.approx(float(kl) / len(labels), rel=1e-12)

    def test_exact_labels_are_refused_where_rows_depend_on_each_other(self) -> None:
        objective = objective_of_graphs()
        settings = FactorSettings("exact")
        with pytest.raises(UsageError, match=r"--labels exact needs samples.*\n.*one unit.*\n.*--labels sampled"):
            scores.gradient_squares(objective, layers(objective), settings, objective.theta)

    def test_squares_of_gradients_of_rows_need_a_known_loss(self) -> None:
        with pytest.raises(TaskError, match=r"not known to be a sum over rows.*\n.*\n.*--operator hessian"):
            EmpiricalFisherOperator(objective_of_graphs(lambda o, t: functional.cross_entropy(o, t)))


class Recurrent(nn.Module):
    """Classes of packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.classes = nn.RNN(3, 4), nn.Linear(4, 2)

    def forward(self, packed: PackedSequence) -> Tensor:
        """Logits `(N, 2)`."""
        return self.classes(self.cell(packed)[1][-1])


def test_packed_sequences_are_given_whole() -> None:
    torch.manual_seed(0)
    texts = [torch.randn(length, 3, dtype=torch.float64) for length in (4, 2, 5, 2, 1)]
    data = [(pack_sequence(texts[:2]), torch.tensor([0, 1])), (pack_sequence(texts[2:]), torch.tensor([0, 1, 1]))]
    net = Recurrent()
    objective = Objective(net, data, "cross_entropy", dtype="float64")
    net.double()
    alone = [net(pack_sequence([text])) for text in texts]
    wanted = functional.cross_entropy(torch.cat(alone), torch.tensor([0, 1, 0, 1, 1]))
    assert float(objective.value()) == pytest.approx(wanted.item(), rel=1e-12)
    assert "it holds a PackedSequence" in objective.batches.note


def test_a_sparse_neighborhood_is_an_argument() -> None:
    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Linear(3, 2)

        def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
            return torch.sparse.mm(neighbors, self.own(x))

    torch.manual_seed(0)
    net, x, y = Convolution(), torch.randn(6, 3).double(), torch.randn(6, 2).double()
    dense = (torch.rand(6, 6) > 0.5).double()
    objective = Objective(net, [((x, dense.to_sparse()), y)], "mse", dtype="float64")
    wanted = functional.mse_loss(dense @ net.double().own(x), y)
    assert float(objective.value()) == pytest.approx(wanted.item(), rel=1e-12)
    assert float(HessianOperator(objective).to_dense().trace()) > 0


class TestDetection:
    """Pictures of several sizes, each with boxes of its own number."""

    class Detector(nn.Module):
        """A box for each picture."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.own = nn.Linear(3, 4)

        def forward(self, pictures: list[Tensor]) -> list[Tensor]:
            """Boxes `(4,)`."""
            return [self.own(picture).mean(dim=0) for picture in pictures]

    def batches(self) -> list[Any]:
        torch.manual_seed(0)
        return [
            (([torch.randn(n, 3).double() for n in sizes],), [torch.rand(n, 4).double() for n in boxes])
            for sizes, boxes in (((4, 5), (2, 0)), ((3,), (5,)))
        ]

    def test_a_list_of_dictionaries_counts_the_pictures(self) -> None:
        def loss(output: list[Tensor], targets: list[dict[str, Any]]) -> Tensor:
            pairs = zip(output, targets, strict=True)
            return torch.stack([(own - target["boxes"].sum(dim=0)).square().sum() for own, target in pairs]).mean()

        data = [(inputs, [{"boxes": one, "name": "a"} for one in boxes]) for inputs, boxes in self.batches()]
        net = self.Detector()
        objective = Objective(net, data, loss, dtype="float64")
        net.double()
        wanted = sum(loss(net(*inputs), targets).item() * len(targets) for inputs, targets in data) / 3
        assert objective.count == 3
        assert float(objective.value()) == pytest.approx(wanted, rel=1e-12)

    def test_a_mean_over_boxes_has_no_known_count(self) -> None:
        def loss(output: list[Tensor], boxes: list[Tensor]) -> Tensor:
            return torch.stack([own.square().sum() * len(one) for own, one in zip(output, boxes, strict=True)]).mean()

        with pytest.raises(TaskError, match=r"targets of several lengths.*\n.*\n.*--objective"):
            Objective(self.Detector(), self.batches(), loss, dtype="float64")


def test_labels_are_drawn_anew_for_the_rows_of_each_unit() -> None:
    """Places in the data are those of batches: rows of two batches must not share random numbers."""
    data = [(inputs, torch.zeros(len(inputs[0]), 3, dtype=torch.float64)) for inputs, _ in graphs()]
    objective = Objective(GraphNet(), data, "mse", dtype="float64")
    outputs = [torch.zeros(len(targets), 3, dtype=torch.float64) for _, targets in data]
    pairs = zip(objective.batches, outputs, strict=True)
    first, second, third = (draw_labels(objective, output, batch, 0, 0) for batch, output in pairs)
    drawn = torch.cat([first, second, third]).flatten()
    assert len(drawn.unique()) == len(drawn)


def test_lists_of_words_are_no_arguments_and_that_is_said() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.own = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.own(x)

    x, labels = torch.randn(6, 3), torch.arange(6) % 2
    data = {"x": x, "labels": labels, "domain": list("ababab")}
    objective = Objective(Named(), data, "cross_entropy")
    assert float(objective.value()) == pytest.approx(functional.cross_entropy(Named()(x), labels).item(), rel=1e-6)
    assert "lists of words are not given to the model: domain" in objective.notes
    assert Objective(Named(), {"x": x, "labels": labels}, "cross_entropy").batches.note == ""
