"""A dictionary is the model's one argument where its forward pass has no parameters of the entries' names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape.network.one_dictionary import NOTE, takes_dictionary

X, Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2


class Whole(nn.Module):
    """Takes everything as one dictionary."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        out: Tensor = self.layer(batch["x"])
        return out


class ByName(Whole):
    """Takes the same entries by name."""

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:  # type: ignore[override]
        return super().forward({"x": x})


class Anything(Whole):
    """Takes whatever it is given by name."""

    def forward(self, **entries: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(entries)


@pytest.mark.parametrize(
    "data",
    [({"x": X}, Y), [({"x": X[:4]}, Y[:4]), ({"x": X[4:]}, Y[4:])], {"x": X, "m": X, "labels": Y}, [(({"x": X},), Y)]],
    ids=["pair", "batches", "labels", "in-a-tuple"],
)
def test_the_loss_is_that_of_the_tensor_alone(data: Any) -> None:
    objective = landscape.Objective(Whole(), data, "cross_entropy", dtype="float64")
    plain = landscape.Objective(Whole().layer, (X, Y), "cross_entropy", dtype="float64")
    assert float(objective.value()) == pytest.approx(float(plain.value()), rel=1e-12)
    torch.testing.assert_close(objective.gradient(), plain.gradient(), rtol=1e-12, atol=1e-15)
    assert (NOTE in objective.notes) == (not (isinstance(data, list) and isinstance(data[0][0], tuple)))


@pytest.mark.parametrize("model", [ByName(), Anything()], ids=["named", "any"])
def test_entries_that_the_model_has_parameters_for_are_given_by_name(model: nn.Module) -> None:
    objective = landscape.Objective(model, ({"x": X}, Y), "cross_entropy", dtype="float64")
    plain = landscape.Objective(Whole().layer, (X, Y), "cross_entropy", dtype="float64")
    assert float(objective.value()) == pytest.approx(float(plain.value()), rel=1e-12)
    assert NOTE not in objective.notes


def test_other_data_of_the_same_model_are_given_in_the_same_way() -> None:
    objective = landscape.Objective(Whole(), ({"x": X}, Y), "cross_entropy", populations={"more": ({"x": 2 * X}, Y)})
    from landscape.objective.views import on_data

    plain = landscape.Objective(Whole().layer, (2 * X, Y), "cross_entropy")
    other = on_data(objective, ({"x": 2 * X}, Y))
    assert float(other.value()) == pytest.approx(float(plain.value()), rel=1e-6)


def test_a_model_without_a_place_for_either_is_called_by_name() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    assert not takes_dictionary(Two(), {"x": X})
    assert takes_dictionary(Whole(), {"x": X})
