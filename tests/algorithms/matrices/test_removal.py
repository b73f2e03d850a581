"""Ways of removing components against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.algorithms.matrices import staircase
from landscape.algorithms.matrices.removal import (
    ActivationDirections,
    MatchedNoise,
    RandomComponents,
    RemovalMethod,
    RotatedComponents,
    SingularValues,
    eigenbasis,
    noise_like,
    random_mask,
)


def factors(p: int = 5, q: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(p, q, generator=generator, dtype=torch.float64)
    a = torch.randn(30, q, generator=generator, dtype=torch.float64)
    g = torch.randn(30, p, generator=generator, dtype=torch.float64)
    scales = torch.logspace(0, -3, q, dtype=torch.float64)
    return weight, (a * scales).T @ (a * scales), g.T @ g


def rotated() -> RotatedComponents:
    weight, a, g = factors()
    return RotatedComponents(weight, eigenbasis(g), eigenbasis(a))


METHODS = {
    "kfac": rotated,
    "activation": lambda: ActivationDirections(factors()[0], eigenbasis(factors()[1])),
    "svd": lambda: SingularValues(factors()[0]),
    "random": lambda: RandomComponents(rotated(), 0, "w"),
    "noise": lambda: MatchedNoise(rotated(), 0, "w"),
}


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_the_whole_mass_is_the_weight_bit_for_bit(self, name: str) -> None:
        method: RemovalMethod = METHODS[name]()
        assert torch.equal(method.remove(1.0).weight, factors()[0])
        assert method.remove(1.0).kept == method.remove(1.0).size == 35

    def test_it_is_the_same_each_time_and_changes_something(self, name: str) -> None:
        one, two = METHODS[name]().remove(0.8), METHODS[name]().remove(0.8)
        assert torch.equal(one.weight, two.weight)
        assert not torch.allclose(one.weight, factors()[0])

    def test_its_energy_is_that_of_the_weight(self, name: str) -> None:
        found = METHODS[name]().remove(0.8)
        before = float(factors()[0].square().sum())
        assert found.energy == pytest.approx(float(found.weight.square().sum()) / before, rel=1e-12)


def test_the_kept_part_is_the_projection_on_the_heaviest_components() -> None:
    weight, a, g = factors()
    mu, v = torch.linalg.eigh(a)
    lam, u = torch.linalg.eigh(g)
    coordinates, mass = u.T @ weight @ v, torch.outer(lam, mu)
    order = mass.flatten().argsort(descending=True)
    count = int((mass.flatten()[order].cumsum(0) < 0.8 * mass.sum()).sum()) + 1
    mask = torch.zeros(35, dtype=torch.bool)
    mask[order[:count]] = True
    found = rotated().remove(0.8)
    assert torch.allclose(found.weight, u @ (coordinates * mask.view(5, 7)) @ v.T, atol=1e-13)
    assert found.kept == count
    assert found.mass == pytest.approx(float(mass.flatten()[mask].sum() / mass.sum()), rel=1e-12)


def test_removing_twice_removes_nothing_more() -> None:
    _, a, g = factors()
    once = rotated().remove(0.8).weight
    again = RotatedComponents(once, eigenbasis(g), eigenbasis(a)).remove(0.8).weight
    assert torch.allclose(once, again, atol=1e-13)
    more = RotatedComponents(once, eigenbasis(g), eigenbasis(a)).remove(0.95).weight
    assert torch.allclose(once, more, atol=1e-13)  # nested: what 0.8 keeps is in what 0.95 keeps


def test_parts_add_up_to_the_weight() -> None:
    method = rotated()
    mask = method.mask_of(staircase.largest_products(method.left.values, method.right.values, 9))
    assert int(mask.sum()) == 9
    assert torch.allclose(method.part(mask) + method.part(~mask), method.weight, atol=1e-13)


def test_activations_keep_the_directions_of_most_input_energy() -> None:
    weight, a, _ = factors()
    mu, v = torch.linalg.eigh(a)
    found = METHODS["activation"]().remove(0.9)
    shares = (mu.flip(0).cumsum(0) / mu.sum()).numpy()
    count = int((shares < 0.9).sum()) + 1
    kept = v.flip(1)[:, :count]
    assert torch.allclose(found.weight, weight @ kept @ kept.T, atol=1e-12)
    assert found.kept == count * 5


def test_singular_values_give_the_best_approximation_of_its_rank() -> None:
    weight = factors()[0]
    found = METHODS["svd"]().remove(0.7)
    u, s, v = np.linalg.svd(weight.numpy())
    rank = int((np.cumsum(s**2) / (s**2).sum() < 0.7).sum()) + 1
    assert np.linalg.matrix_rank(found.weight.numpy()) == rank
    assert np.allclose(found.weight.numpy(), (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-12)
    assert found.energy >= 0.7


def test_random_components_are_as_many_and_others() -> None:
    plain, drawn = rotated().remove(0.8), METHODS["random"]().remove(0.8)
    assert drawn.kept == plain.kept
    inside = [RandomComponents(rotated(), seed, "w").remove(0.8) for seed in range(3)]
    assert not torch.allclose(inside[0].weight, inside[1].weight)
    coordinates = rotated()
    left = coordinates.left.vectors.T @ drawn.weight @ coordinates.right.vectors
    nonzero = left.abs() > 1e-12
    assert int(nonzero.sum()) == drawn.kept
    assert torch.allclose(left[nonzero], coordinates.coordinates[nonzero], atol=1e-12)


def test_noise_has_the_norm_of_what_is_removed() -> None:
    weight, plain = factors()[0], rotated().remove(0.8).weight
    noisy = METHODS["noise"]().remove(0.8).weight
    assert float(torch.linalg.norm(noisy - weight)) == pytest.approx(
        float(torch.linalg.norm(plain - weight)), rel=1e-12
    )


def test_noise_of_nothing_is_nothing() -> None:
    assert torch.equal(noise_like(torch.zeros(3, 2, dtype=torch.float64), 0), torch.zeros(3, 2, dtype=torch.float64))


def test_a_scattered_mask_has_as_many_entries_in_other_places() -> None:
    mask = torch.arange(60).view(6, 10) < 13
    drawn = random_mask(mask, 0, "x")
    assert int(drawn.sum()) == 13
    assert not torch.equal(drawn, mask)
    assert not torch.equal(drawn, random_mask(mask, 1, "x"))


def test_eigenvalues_of_a_rank_deficient_matrix_are_not_negative() -> None:
    rows = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    basis = eigenbasis(rows.T @ rows)
    assert basis.vectors.dtype == torch.float64
    assert (basis.values >= 0).all()
    assert (np.diff(basis.values) <= 0).all()
    assert (basis.values[3:] < 1e-5 * basis.values[0]).all()


def test_a_weight_of_bf16_comes_back_bit_for_bit_when_all_components_are_kept() -> None:
    weight, a, g = factors()
    stored = weight.to(torch.bfloat16)
    method = RotatedComponents(stored, eigenbasis(g), eigenbasis(a))
    everything = torch.ones(5, 7, dtype=torch.bool)
    assert torch.equal(method.of(everything).weight.to(torch.bfloat16), stored)
