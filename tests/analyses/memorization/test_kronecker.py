"""The options that analyses of Kronecker factors share, and the sidecar of the factors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from memorized import edit_of, fit_net
from torch import Tensor

from landscape import Edit, Memorization
from landscape.analyses.memorization.kronecker import population_names

Data = tuple[Tensor, Tensor]


def test_single_words_are_lists_of_one() -> None:
    analysis = Memorization(layers="fc*", population="clean=data.py:few")  # type: ignore[arg-type]
    assert analysis.layers == ("fc*",)
    assert analysis.population == ("clean=data.py:few",)


def test_only_the_coupled_method_needs_coupled_factors() -> None:
    assert not Memorization().coupled
    assert not Edit(rho=(0.9,)).coupled
    assert Edit(rho=(0.9,), method="coupled").coupled


def test_the_samples_of_every_population_decide_the_result(classification: Data) -> None:
    x, y = classification
    objective, other = fit_net(classification), fit_net(classification)
    other.populations = {**objective.populations, "clean": (x[7:16], y[7:16])}
    before, after = (Memorization().ingredients(one)["populations"].split(", ") for one in (objective, other))
    assert [words.split()[0] for words in before] == ["memorised", "clean", "held-out"]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True]


def test_the_sidecar_has_the_factors_of_the_result(classification: Data) -> None:
    objective = fit_net(classification)
    result = edit_of(objective, rho=(0.9,))
    (sidecar,) = Edit(rho=(0.9,)).sidecars(result, objective).values()
    assert {"0/activations", "0/gradients", "2/activations", "2/gradients", "identity", "loss"} <= sidecar.keys()
    assert sidecar["0/activations"].shape == (5, 5)


def test_without_a_sidecar_nothing_is_known_beforehand(classification: Data, tmp_path: Path) -> None:
    assert Memorization().warm_start(fit_net(classification), {}, tmp_path / "a.landscape.h5") is None


def test_names_in_a_result_have_their_present_spelling() -> None:
    names = population_names(np.array(["memorised", "clean", "mine"]))
    assert names.tolist() == ["memorized", "clean", "mine"]
