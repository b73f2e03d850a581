"""Tables of marks and treatments, and notes on weights that cannot move."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.analyses.surfaces.direction_tables import mark_columns, treatment_columns, treatment_notes
from landscape.analyses.surfaces.frame import Frame, Marks
from landscape.evaluation.directions import treatments
from landscape.evaluation.sweep import Plane

Data = tuple[Tensor, Tensor]


def test_marks_have_a_column_for_each_axis_that_the_frame_has() -> None:
    plane = Plane((torch.ones(2),))
    assert mark_columns(Frame(plane, ((-1.0, 1.0),))) == {}
    marks = Marks(["a", "b"], np.array([[0.0], [1.0]]), np.array([0.0, 0.5]), np.array([1.0, 2.0]))
    columns = mark_columns(Frame(plane, ((-1.0, 1.0),), marks=marks, explained=(0.75,)))
    assert columns["mark"].tolist() == ["a", "b"]
    assert columns["place_alpha"].tolist() == [0, 1]
    assert columns["explained_alpha"] == 0.75
    assert {"off_plane", "own_loss"} < columns.keys()
    assert "place_beta" not in columns


def test_tensors_are_counted_by_kind_and_treatment(classification: Data) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    objective = Objective(net, [classification], "cross_entropy")
    columns = treatment_columns(treatments(objective, "filter", ("bias",)), objective)
    assert columns["kind"].tolist() == ["weight", "bias"]
    assert columns["kind_treatment"].tolist() == ["filter", "ignored"]
    assert columns["kind_tensors"].tolist() == [2, 2]
    assert columns["kind_parameters"].tolist() == [5 * 4 + 4 * 3, 4 + 3]
    assert columns["kind_filters"].tolist() == [4 + 3, 0]
    assert columns["tensor"].tolist() == ["0.weight", "0.bias", "2.weight", "2.bias"]
    norms = [float(parameter.detach().norm()) for parameter in net.parameters()]
    assert np.allclose(columns["tensor_norm"], norms, rtol=1e-6)


def test_filters_that_are_zero_and_rows_that_the_data_do_not_reach_are_noted() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        net[2].weight[1] = 0  # type: ignore[index, operator]
    tokens = torch.tensor([[0, 1], [1, 2], [2, 0]])  # of seven, four never occur
    objective = Objective(net, [(tokens, torch.tensor([0, 1, 2]))], "cross_entropy")
    notes = treatment_notes(treatments(objective, "filter", ("none",)), objective)
    assert notes[0] == "1 filters are 0, and do not move"
    assert notes[1].startswith("4 rows of 0.weight are not reached by the data")
    assert treatment_notes(treatments(objective, "none", ("none",)), objective) == notes[1:]
