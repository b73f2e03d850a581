"""How a run is measured: what two descriptions differ in."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import tanh_net
from torch import Tensor

from landscape import Eig, Objective
from landscape.history import History
from landscape.history.description import description_of, differences_in_measurement


def described(data: tuple[Tensor, Tensor], analyses: list[Any] | None = None, **options: Any) -> dict[str, Any]:
    return description_of(Objective(tanh_net(), data, "cross_entropy", **options), analyses or [Eig(k=2)])


def test_other_weights_are_the_same_measurement(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy")
    moved = objective.at({name: 2 * tensor for name, tensor in tanh_net().state_dict().items()})
    history = History(attributes=description_of(objective, [Eig(k=2)]))
    assert differences_in_measurement(description_of(moved, [Eig(k=2)]), history) == []


@pytest.mark.parametrize("options", [{"limit": 10}, {"dtype": "float64"}, {"analyses": [Eig(k=3)]}])
def test_other_data_precision_and_options_are_another_one(
    options: dict[str, Any], classification: tuple[Tensor, Tensor]
) -> None:
    history = History(attributes=described(classification))
    assert len(differences_in_measurement(described(classification, **options), history)) == 1


def test_a_history_without_a_measurement_differs_in_nothing(classification: tuple[Tensor, Tensor]) -> None:
    assert differences_in_measurement(described(classification), History()) == []
