"""The option --by of every analysis that has it: its samples decide the fingerprint, and its remarks name conflicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from population_objectives import population_objective, samples_of_class

import landscape
from landscape import Eig, Measures, Sharpness, Trace
from landscape.analyses.shared.by_population import ByPopulation, PopulationColumns


@pytest.mark.parametrize("kind", [Eig, Trace, Sharpness, Measures], ids=lambda kind: str(kind.name))
def test_the_populations_are_ingredients(kind: type[ByPopulation]) -> None:
    plain = population_objective()
    assert kind().ingredients(plain) == {}
    by_class = kind(by="class").ingredients(plain)
    assert by_class["by"] == "class"
    assert [word.split()[0] for word in by_class["populations"].split(", ")] == ["class-0", "class-1", "class-2"]
    named = [
        kind(by="population").ingredients(population_objective(populations={"rare": samples_of_class(label)}))
        for label in (1, 2)
    ]
    assert named[0]["populations"] != named[1]["populations"]


def test_options_of_the_matrix_and_the_populations_are_ingredients_together() -> None:
    weights = {name: torch.ones_like(weight) for name, weight in tanh_net().named_parameters()}
    objective = population_objective(preconditioner=weights)
    found = Eig(by="class", operator="preconditioned").ingredients(objective)
    assert {"preconditioner", "by", "populations"} <= found.keys()


def columns(cosines: list[list[float]]) -> PopulationColumns:
    """A result with these cosines of populations a, b, ..."""
    return PopulationColumns(population=np.array(list("abc")[: len(cosines)]), gradient_cosine=np.array(cosines))


def test_the_pair_that_conflicts_most_is_said() -> None:
    said = columns([[1, -0.2, 0.1], [-0.2, 1, -0.6], [0.1, -0.6, 1]]).gradient_remarks()
    assert said == [
        "gradients conflict in 2 of 3 pairs of populations, most in b and c (cosine -0.6): a step that lowers the one "
        "loss raises the other"
    ]


@pytest.mark.parametrize("cosine", [0.3, float("nan"), -0.01], ids=["aligned", "zero gradient", "by chance"])
def test_without_a_conflict_nothing_is_said(cosine: float) -> None:
    assert columns([[1, cosine], [cosine, 1]]).gradient_remarks() == []


def test_files_hold_the_columns_of_populations(tmp_path: object) -> None:
    path = f"{tmp_path}/by.landscape.h5"
    written = landscape.run(Eig(k=1, by="class"), population_objective(), output=path)
    read = landscape.read(path).eig
    assert list(read.population) == ["class-0", "class-1", "class-2"]
    np.testing.assert_array_equal(read.gradient_cosine, written.gradient_cosine)
