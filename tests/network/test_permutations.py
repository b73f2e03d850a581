"""Groups of units that may be permuted, and matching them between nets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landscape.algorithms.matrices import weight_matching
from landscape.algorithms.matrices.weight_matching import match_units, permute_units
from landscape.data.batches import Batch
from landscape.errors import UsageError
from landscape.network.permutations import permutation_groups
from landscape.zoo import char_transformer, mlp, resnet


class Several(nn.Module):
    """Concatenation, flattening, a depthwise convolution, a transposed one, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 3, 3, padding=1)
        self.depth = nn.Conv2d(7, 7, 3, padding=1, groups=7)
        self.up = nn.ConvTranspose2d(7, 5, 2, stride=2)
        self.norm = nn.BatchNorm2d(5)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.dense = nn.Linear(20, 6)
        self.twice = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([torch.relu(self.a(x)), self.b(x)], dim=1)
        x = self.pool(self.norm(self.up(self.depth(x)))).flatten(1)
        x = nn.functional.gelu(self.dense(x))
        out: Tensor = self.head(self.twice(self.twice(x)) + x)
        return out


NETS = {
    "mlp": (lambda: mlp([8, 12, 7, 3], "relu"), torch.randn(5, 8)),
    "residual": (lambda: resnet(2, 4), torch.randn(5, 1, 8, 8)),
    "plain": (lambda: resnet(1, 4, skip=False), torch.randn(5, 1, 8, 8)),
    "several": (Several, torch.randn(5, 1, 6, 6)),
}


def built(name: str) -> tuple[nn.Module, Batch]:
    make, x = NETS[name]
    torch.manual_seed(3)
    model = make().eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor += torch.rand_like(tensor)
    return model, Batch(x, torch.zeros(5).long())


@pytest.mark.parametrize("name", list(NETS))
def test_permuting_a_group_changes_nothing_and_matching_undoes_it_exactly(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_matching, "RANDOM_STARTS", 0)  # by the first sweep alone, as for wide layers
    model, batch = built(name)
    found = permutation_groups(model, batch)
    weights = {n: t.clone() for n, t in model.state_dict().items()}
    before = model(batch.inputs)
    shuffled = dict(weights)
    for number, group in enumerate(found):
        order = torch.randperm(group.size, generator=torch.Generator().manual_seed(number))
        shuffled = permute_units(shuffled, group, order)
    assert any(not torch.equal(shuffled[n], weights[n]) for n in weights)
    model.load_state_dict(shuffled)
    assert torch.allclose(model(batch.inputs), before, rtol=1e-4, atol=1e-5)
    back = match_units(weights, shuffled, found, set(weights))
    assert all(torch.equal(back[n], weights[n]) for n in weights)


def test_the_first_sweep_undoes_permutations_of_deep_and_narrow_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A descent that begins with all that a group touches fails on one of these."""
    monkeypatch.setattr(weight_matching, "RANDOM_STARTS", 0)
    for seed in range(8):
        torch.manual_seed(seed)
        model = mlp([1, *[8] * 8, 1], "relu")
        weights = {n: t.clone() for n, t in model.state_dict().items()}
        found = permutation_groups(model, Batch(torch.randn(2, 1), torch.zeros(2).long()))
        shuffled = dict(weights)
        for group in found:
            shuffled = permute_units(shuffled, group, torch.randperm(group.size))
        back = match_units(weights, shuffled, found, set(weights))
        assert all(torch.equal(back[n], weights[n]) for n in weights)


def test_the_groups_of_a_residual_net_are_its_streams_and_its_inner_layers() -> None:
    model, batch = built("residual")
    sizes = sorted(group.size for group in permutation_groups(model, batch))
    # streams of 4 that all stages share, of 4 more from the second on, of 8 more in the third; one inside each block
    assert sizes == sorted([4, 4, 8, 4, 4, 8, 8, 16, 16])


def test_the_groups_of_several_layers() -> None:
    model, batch = built("several")
    sizes = sorted(group.size for group in permutation_groups(model, batch))
    assert sizes == [3, 4, 5, 6]  # dense, both uses of twice and their sum are one


def test_matching_never_goes_away_from_the_identity() -> None:
    here, there = (mlp([8, 30, 3], "relu") for _ in range(2))
    batch = Batch(torch.randn(4, 8), torch.zeros(4).long())
    a, b = here.state_dict(), there.state_dict()
    found = match_units(a, b, permutation_groups(here, batch), set(a))

    def nearness(other: dict[str, Tensor]) -> float:
        return float(sum((a[n] * other[n]).sum() for n in a))

    assert nearness(found) > nearness(b)
    there.load_state_dict(found)
    assert torch.allclose(there(batch.inputs), mlp_of(b)(batch.inputs), atol=1e-6)


def mlp_of(weights: dict[str, Tensor]) -> nn.Module:
    net = mlp([8, 30, 3], "relu")
    net.load_state_dict(weights)
    return net


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (char_transformer(), torch.zeros(2, 5).long(), "cannot follow"),
        (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2)), torch.randn(2, 4), "LayerNorm"),
        (nn.Sequential(nn.Conv2d(2, 4, 1, groups=2)), torch.randn(2, 2, 3, 3), "Conv2d with groups"),
        (nn.Sequential(nn.Linear(4, 6), nn.Softmax(dim=1), nn.Linear(6, 2)), torch.randn(2, 4), "Softmax"),
    ],
    ids=["transformer", "layer-norm", "grouped", "softmax"],
)
def test_what_is_not_known_is_refused(model: nn.Module, inputs: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        permutation_groups(model.eval(), Batch(inputs, torch.zeros(2).long()))


def test_what_fails_while_it_is_followed_is_refused() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            out: Tensor = self.a(x if mask is None else x * mask)
            return out

    with pytest.raises(UsageError, match="cannot follow"):
        permutation_groups(Masked(), Batch(torch.randn(2, 4), torch.zeros(2).long()))
    normed = nn.Sequential(nn.Linear(4, 5), nn.utils.parametrizations.weight_norm(nn.Linear(5, 2)))
    with pytest.raises(UsageError, match="computed from others"):
        permutation_groups(normed, Batch(torch.randn(2, 4), torch.zeros(2).long()))


def test_random_starts_find_nearer_matches_than_one_descent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all permutations of one layer, with the other assigned exactly: never above, and mostly equal."""
    from itertools import permutations

    from scipy.optimize import linear_sum_assignment

    reached = alone = 0
    for seed in range(15):
        torch.manual_seed(seed)
        here, there = (mlp([4, 5, 4, 2], "tanh").double().state_dict() for _ in range(2))
        net = mlp([4, 5, 4, 2], "tanh").double()
        units = permutation_groups(net, Batch(torch.randn(2, 4).double(), torch.zeros(2).long()))
        found = match_units(here, there, units, set(here))
        near = float(sum((here[n] * found[n]).sum() for n in here))
        with monkeypatch.context() as patched:
            patched.setattr(weight_matching, "RANDOM_STARTS", 0)
            fewer = match_units(here, there, units, set(here))
        best = -float("inf")
        for order in permutations(range(5)):
            p = list(order)
            first = (here["0.weight"] * there["0.weight"][p]).sum() + (here["0.bias"] * there["0.bias"][p]).sum()
            gain = here["2.weight"] @ there["2.weight"][:, p].T + torch.outer(here["2.bias"], there["2.bias"])
            gain = gain + here["4.weight"].T @ there["4.weight"]
            rows, columns = linear_sum_assignment(gain.numpy(), maximize=True)
            total = first + gain[rows, columns].sum() + (here["4.bias"] * there["4.bias"]).sum()
            best = max(best, float(total))
        assert near <= best + 1e-12
        reached += near >= best - 1e-12
        alone += float(sum((here[n] * fewer[n]).sum() for n in here)) >= best - 1e-12
    assert alone < reached
    assert reached >= 14


def test_what_branches_on_data_is_refused() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.a(x) if x.sum() > 0 else x
            return out

    with pytest.raises(UsageError, match="branches on data"):
        permutation_groups(Branching(), Batch(torch.randn(2, 4), torch.zeros(2).long()))
    with pytest.raises(UsageError, match="positional"):
        permutation_groups(mlp([4, 5, 3]), Batch({"x": torch.randn(2, 4)}, torch.zeros(2).long()))
