"""Energy of inputs in the eigenvectors of A, against dense computation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from memorized import fit_net, memorization_of
from torch import Tensor

from landscape import Objective, zoo
from landscape.analyses.memorization.activation_ratios import ratio_columns

Data = tuple[Tensor, Tensor]


def test_activation_ratios_are_shares_of_energy_in_quarters(classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    found = memorization_of(objective, layers=("2",))
    with torch.no_grad():
        hidden = objective.model.double()[:2](classification[0].double())
    _, v = torch.linalg.eigh(hidden[:16].T @ hidden[:16])
    energy = (hidden @ v.flip(1)).square()
    ends = [0, 1, 3, 4, 6]

    def shares(part: slice) -> Tensor:
        sums = torch.stack([energy[part, a:b].sum() for a, b in pairwise(ends)])
        return sums / sums.sum()

    wanted = [shares(part) / shares(slice(6, 16)) for part in (slice(0, 6), slice(6, 16), slice(16, 24))]
    assert np.allclose(found.activation_ratio, torch.stack(wanted), atol=1e-10)


def test_padding_has_no_share_in_activation_ratios() -> None:
    ids = torch.randint(0, 9, (14, 9), generator=torch.Generator().manual_seed(0))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    padded = targets[:4].clone()
    padded[:, 4:] = -100
    torch.manual_seed(0)
    net = zoo.char_transformer(vocabulary=9, length=8, width=8, heads=2, layers=1)
    pairs = {"clean": (inputs, targets), "memorized": (inputs[:4], padded), "short": (inputs[:4, :4], targets[:4, :4])}
    objective = Objective(net, (inputs, targets), "cross_entropy", populations=pairs, dtype="float64")
    found = memorization_of(objective, per_layer=False, scores=False)
    rows = dict(zip(found.population, found.activation_ratio, strict=True))
    assert np.allclose(rows["memorized"], rows["short"], atol=1e-10)


def test_ratios_are_relative_to_the_clean_population_or_the_data() -> None:
    energy = {
        "data": np.array([[1.0, 1.0, 1.0, 1.0]]),
        "clean": np.array([[2.0, 4.0, 2.0, 2.0]]),
        "memorized": np.array([[1.0, 1.0, 1.0, 7.0]]),
    }
    columns = ratio_columns(energy, ["clean", "memorized"])
    assert columns["quarter"].tolist() == [1, 2, 3, 4]
    assert np.allclose(columns["activation_ratio"], [[1, 1, 1, 1], [0.5, 0.25, 0.5, 3.5]])
    del energy["clean"]
    assert np.allclose(ratio_columns(energy, ["memorized"])["activation_ratio"], [[0.4, 0.4, 0.4, 2.8]])


def test_shares_are_means_over_layers_of_any_size() -> None:
    energy = {
        "data": np.array([[1.0, 0.0, 0.0, 1.0], [1e6, 1e6, 0.0, 0.0]]),
        "clean": np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]),
    }
    assert np.allclose(ratio_columns(energy, ["data"])["activation_ratio"], [[2, 1, 0, 1]])
