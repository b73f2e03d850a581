"""A diagonal by parameter becomes one vector in the order of theta; entries next to 0 are noted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape.errors import UsageError
from landscape.network.space import ParameterSpace
from landscape.objective.preconditioner import read_preconditioner

LIKE = torch.zeros(5, dtype=torch.float64)


def named() -> dict[str, Tensor]:
    return {"bias": torch.tensor([5.0]), "weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}


SPACE = ParameterSpace.of({"weight": torch.zeros(2, 2), "bias": torch.zeros(1)})


@pytest.mark.parametrize("source", [named(), named], ids=["mapping", "function"])
def test_tensors_are_laid_out_as_theta_in_its_precision(source: object) -> None:
    read = read_preconditioner(source, SPACE, LIKE)  # type: ignore[arg-type]
    assert read.diagonal.tolist() == [1, 2, 3, 4, 5]
    assert read.diagonal.dtype == torch.float64
    assert read.notes == ()


def test_entries_next_to_zero_are_noted_by_name() -> None:
    tensors = named() | {"bias": torch.tensor([1e-8])}
    (note,) = read_preconditioner(tensors, SPACE, LIKE).notes
    assert note.startswith("1 of 5 entries of the preconditioner are next to 0: bias")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "no preconditioner is known"),
        ({"weight": torch.ones(2, 2)}, "no tensor that fits bias"),
        (named() | {"weight": torch.ones(4)}, "no tensor that fits weight"),
    ],
    ids=["none", "missing", "another shape"],
)
def test_a_diagonal_that_does_not_fit_is_refused(source: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_preconditioner(source, SPACE, LIKE)  # type: ignore[arg-type]
