"""The sums of one batch: shared inputs, Gram matrices in strips, labels."""

from __future__ import annotations

import pytest
import torch
from token_models import Tokens, collected, labeled_tokens, layers
from torch import Tensor, nn

from landscape import Objective
from landscape.evaluation.layers.factor_collector import (
    MIN_STRIPPED_COLUMNS,
    FactorCollector,
    FactorSettings,
    gram,
    shared_inputs,
)
from landscape.evaluation.layers.kfac import symmetrize
from landscape.evaluation.layers.layer_io import LayerCall
from landscape.network.linear_maps import LinearMap

Data = tuple[Tensor, Tensor]


@pytest.fixture
def sequences(generator: torch.Generator) -> Data:
    return labeled_tokens(generator)


def test_layers_with_one_input_share_its_sums(sequences: Data) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy", dtype="float64")
    found = layers(objective)
    collector = FactorCollector(objective, found, FactorSettings("gold"), {})
    assert collector.shares == {}  # q is called twice, k once
    net = nn.Module()
    net.a, net.b = nn.Linear(4, 3), nn.Linear(4, 3)
    net.forward = lambda x: net.a(x) * net.b(x)
    x, y = sequences[0][:, 0], sequences[1][:, 0].clamp_min(0)
    twin = Objective(net, (x, y), "cross_entropy", dtype="float64")
    sums: dict[str, Tensor] = {}
    FactorCollector(twin, layers(twin), FactorSettings("gold"), sums).add(twin)
    assert [name for name in sums if "activations" in name] == ["a/activations"]
    both = collected(twin, "gold")
    assert torch.equal(both["a"].a, both["b"].a)
    assert torch.allclose(both["b"].a, x.double().T @ x.double() / len(x), atol=1e-14)


def test_the_expectation_over_labels_is_the_mean_of_many_draws(sequences: Data) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy", dtype="float64")
    exact, drawn = collected(objective, "exact"), collected(objective, "sampled", draws=600)
    for name, factor in exact.items():
        apart = torch.linalg.norm(factor.g - drawn[name].g) / torch.linalg.norm(factor.g)
        assert float(apart) < 0.12  # 600 draws on 55 tokens: about 1 / sqrt(600), and three times that at most
        assert torch.equal(factor.a, drawn[name].a)


def test_more_draws_are_other_labels_and_another_seed_too(sequences: Data) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy", dtype="float64")
    one, again = collected(objective, "sampled")["out"].g, collected(objective, "sampled")["out"].g
    assert torch.equal(one, again)
    assert not torch.equal(one, collected(objective, "sampled", draws=2)["out"].g)
    assert not torch.equal(one, collected(objective, "sampled", seed=1)["out"].g)


def test_a_large_gram_matrix_is_made_of_strips(generator: torch.Generator) -> None:
    rows = torch.randn(20, MIN_STRIPPED_COLUMNS + 3, dtype=torch.float64, generator=generator)
    weights = torch.rand(20, dtype=torch.float64, generator=generator)
    assert torch.allclose(symmetrize(gram(rows)), rows.T @ rows, atol=1e-12)
    assert torch.allclose(symmetrize(gram(rows, weights)), rows.T @ torch.diag(weights) @ rows, atol=1e-12)


def call(argument: Tensor, module: nn.Module) -> LayerCall:
    return LayerCall(module, argument, argument._version, argument.detach(), argument._version, argument, 0)


def maps(*modules: nn.Module) -> list[LinearMap]:
    return [LinearMap(str(n), f"{n}.weight", (module,), 3, 4) for n, module in enumerate(modules)]


def test_inputs_are_told_apart_as_objects_not_by_their_address() -> None:
    """Tensors without memory all have the address 0."""
    one, other = torch.empty(2, 4, device="meta"), torch.empty(2, 4, device="meta")
    assert one.data_ptr() == other.data_ptr()
    a, b, c = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
    calls = [[call(one, a)], [call(other, b)], [call(one, c)]]
    assert shared_inputs(maps(a, b, c), calls) == {"2": "0"}


def test_an_input_that_was_written_into_is_another_input() -> None:
    x = torch.zeros(2, 4)
    a, b = nn.Linear(4, 3), nn.Linear(4, 3)
    first = call(x, a)
    x.add_(1)
    assert shared_inputs(maps(a, b), [[first], [call(x, b)]]) == {}


def test_convolutions_share_an_input_only_if_they_cut_the_same_patches() -> None:
    x = torch.zeros(2, 4, 8, 8)
    a, b, c = nn.Conv2d(4, 3, 3), nn.Conv2d(4, 3, 3, stride=2), nn.Conv2d(4, 5, 3)
    assert shared_inputs(maps(a, b, c), [[call(x, a)], [call(x, b)], [call(x, c)]]) == {"2": "0"}


def test_layers_that_are_not_called_share_nothing() -> None:
    assert shared_inputs(maps(nn.Linear(4, 3), nn.Linear(4, 3)), [[], []]) == {}


def test_memory_that_is_used_again_between_two_layers_is_two_inputs(generator: torch.Generator) -> None:
    """Both layers read one buffer at one address, and the second reads other values."""

    class Reusing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            buffer = torch.empty_like(x)
            first: Tensor = self.a(buffer.copy_(x))
            second: Tensor = self.b(buffer.copy_(x * 2 + 1))
            return first + second

    x, y = torch.randn(6, 4, generator=generator), torch.randint(0, 3, (6,), generator=generator)
    factors = collected(Objective(Reusing(), (x, y), "cross_entropy", dtype="float64"), "gold")
    for name, inputs in {"a": x.double(), "b": x.double() * 2 + 1}.items():
        assert torch.allclose(factors[name].a, inputs.T @ inputs / 6, atol=1e-14)
