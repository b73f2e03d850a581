"""K-FAC factors against the dense Gauss-Newton matrix where theory makes them exact, direct sums, and curvlinops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import pytest
import torch
from conftest import Splitter, tanh_net
from token_models import Tokens, collected, labeled_tokens, layers
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.choices import Labels
from landscape.evaluation.layers import factor_collector, kfac
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.kfac import Factor, stream_factors
from landscape.evaluation.layers.tensor_store import TensorStore
from landscape.operators import GaussNewtonOperator
from landscape.storage.stored_array import StoredArray

Data = tuple[Tensor, Tensor]


@pytest.fixture
def sequences(generator: torch.Generator) -> Data:
    return labeled_tokens(generator)


def curvature(objective: Objective, factor: Factor) -> Tensor:
    """The block that the factors stand for, of the mean loss: G (x) A, over as many terms as the loss has per token."""
    return torch.kron(factor.g, factor.a) * float(factor.tokens) / objective.count


def block(objective: Objective, parameter: str) -> Tensor:
    """The dense Gauss-Newton matrix of one weight."""
    dense = GaussNewtonOperator(objective).to_dense()
    chosen = objective.space.mask([parameter], "--params")
    return dense[chosen][:, chosen]


def agree(objective: Objective, labels: Labels = "exact") -> float:
    """The largest relative difference over layers."""
    found = collected(objective, labels)
    worst = 0.0
    for layer in layers(objective):
        wanted = block(objective, layer.parameter)
        apart = torch.linalg.norm(curvature(objective, found[layer.name]) - wanted) / torch.linalg.norm(wanted)
        worst = max(worst, float(apart))
    return worst


@pytest.fixture
def regression(generator: torch.Generator) -> Data:
    return torch.randn(24, 5, generator=generator), torch.randn(24, 3, generator=generator)


class TestExactCases:
    """Where theory says that K-FAC is the Gauss-Newton matrix (Martens and Grosse 2015; Bernacchia et al. 2018)."""

    def test_one_linear_layer_with_squared_error(self, regression: Data, split: Splitter) -> None:
        torch.manual_seed(0)
        assert agree(Objective(nn.Linear(5, 3), split(*regression), "mse", dtype="float64")) < 1e-12

    def test_every_layer_of_a_deep_linear_net_with_squared_error(self, regression: Data, split: Splitter) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 6), nn.Linear(6, 3))
        assert agree(Objective(net, split(*regression), "mse", dtype="float64")) < 1e-12

    def test_any_net_on_one_sample(self, classification: Data) -> None:
        x, y = classification
        assert agree(Objective(tanh_net(), (x[:1], y[:1]), "cross_entropy", dtype="float64")) < 1e-12

    def test_cross_entropy_with_constant_predictions(self, classification: Data, split: Splitter) -> None:
        net = nn.Linear(5, 3)
        nn.init.zeros_(net.weight)
        assert agree(Objective(net, split(*classification), "cross_entropy", dtype="float64")) < 1e-12

    def test_binary_cross_entropy_on_one_sample(self, classification: Data) -> None:
        x, y = classification
        labels = functional.one_hot(y[:1], 3).double()
        assert agree(Objective(tanh_net(), (x[:1], labels), "bce", dtype="float64")) < 1e-12

    def test_it_is_not_exact_for_cross_entropy_on_several_samples(self, classification: Data) -> None:
        torch.manual_seed(0)
        x, y = classification
        assert 0.01 < agree(Objective(nn.Linear(5, 3), (x[:20], y[:20]), "cross_entropy", dtype="float64")) < 0.5


def direct(objective: Objective, batch: Data, path: str) -> tuple[Tensor, Tensor, int]:
    """Sums of a a' and g g' by a loop over samples and tokens, with the data's own labels."""
    model = objective.model.double()
    module = model.get_submodule(path)
    first = second = torch.zeros(0)
    tokens = 0
    for x, y in zip(*batch, strict=True):
        seen: list[tuple[Tensor, Tensor]] = []
        handle = module.register_forward_hook(lambda m, i, o: seen.append((i[0], o)))  # noqa: B023
        output = model(x[None].double())
        handle.remove()
        if (y == -100).all():
            continue
        loss = functional.cross_entropy(output.reshape(-1, 3), y.reshape(-1), reduction="sum")
        for a, o in seen:
            (g,) = torch.autograd.grad(loss, o, retain_graph=True)
            for place in range(a.shape[1]):
                if y[place] == -100:
                    continue
                one = torch.outer(a[0, place], a[0, place]).detach()
                two = torch.outer(g[0, place], g[0, place])
                first, second = (one, two) if not tokens else (first + one, second + two)
                tokens += 1
    return first, second, tokens


@pytest.mark.parametrize("path", ["q", "k", "out"])
def test_the_sums_are_those_of_a_loop_over_tokens_with_the_ones_without_target_left_out(
    sequences: Data, path: str
) -> None:
    net = Tokens()
    objective = Objective(
        net, [tuple(t[:5] for t in sequences), tuple(t[5:] for t in sequences)], "cross_entropy", dtype="float64"
    )
    factor = collected(objective, "gold")[path]
    first, second, tokens = direct(objective, sequences, path)
    assert int(factor.tokens) == tokens
    assert torch.allclose(factor.a * tokens, first, rtol=0, atol=1e-12)
    assert torch.allclose(factor.g * tokens, second, rtol=0, atol=1e-12)


@pytest.mark.parametrize("labels", ["exact", "sampled", "gold"])
@pytest.mark.parametrize("coupled", [False, True], ids=["plain", "coupled"])
def test_batches_and_micro_batches_change_nothing(sequences: Data, labels: Labels, coupled: bool) -> None:
    def found(sizes: Sequence[int], micro_batch: int | None = None) -> dict[str, Factor]:
        data = list(zip(*(t.split(list(sizes)) for t in sequences), strict=True))
        objective = Objective(Tokens(), data, "cross_entropy", dtype="float64", micro_batch=micro_batch)
        return collected(objective, labels, coupled=coupled)

    whole = found([12])
    for other in (found([7, 4, 1]), found([12], 5), found([1] * 12)):
        for name, factor in whole.items():
            for field in ("a", "g", "coupling"):
                one, two = torch.as_tensor(getattr(factor, field)), torch.as_tensor(getattr(other[name], field))
                assert torch.allclose(one, two, rtol=1e-12, atol=1e-14), (name, field)
            if coupled:
                pairs = zip(factor.coupled_factors, other[name].coupled_factors, strict=True)
                assert all(torch.allclose(one, two, rtol=1e-12, atol=1e-14) for one, two in pairs)


def test_the_coupled_sums_are_the_row_and_column_sums_of_the_eigenvalue_corrected_curvature(
    sequences: Data,
) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    x, y = sequences[0][:, 0], sequences[1][:, 0].clamp_min(0)
    objective = Objective(net, [(x[:5], y[:5]), (x[5:], y[5:])], "cross_entropy", dtype="float64")
    factor = collected(objective, "gold", coupled=True)["0"]
    net = net.double()
    hidden = net[0](x.double())
    loss = functional.cross_entropy(net[2](net[1](hidden)), y, reduction="sum")
    (g,) = torch.autograd.grad(loss, hidden)
    u, v = torch.linalg.eigh(factor.g)[1], torch.linalg.eigh(factor.a)[1]
    corrected = torch.einsum("ni,nj->ij", (g @ u) ** 2, (x.double() @ v) ** 2) / len(x)
    a, gg = factor.coupled_factors
    total = float(factor.coupling) / len(x)
    assert torch.allclose(corrected.sum(1), torch.diagonal(u.T @ gg @ u), rtol=0, atol=1e-15)
    assert torch.allclose(corrected.sum(0) / total, torch.diagonal(v.T @ a @ v), rtol=0, atol=1e-15)
    joint = (x.double().square().sum(1) * g.square().sum(1)).mean()
    assert factor.independence == pytest.approx(float(factor.a.trace() * factor.g.trace() / joint), rel=1e-12)


def test_a_resumed_collection_gives_the_same_bits(sequences: Data) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy")
    found, recipe = layers(objective), FactorSettings("exact", coupled=True)
    steps = [
        (done, {k: v.clone() for k, v in sums.items()})
        for done, _, sums in stream_factors(objective, found, recipe, {})
    ]
    for done, sums in steps[::4]:
        state = {name: value.numpy() for name, value in sums.items()}
        rest = list(stream_factors(objective, found, recipe, state))
        assert len(rest) == len(steps) - done
        last = rest[-1][2] if rest else sums
        assert all(torch.equal(last[name], value) for name, value in steps[-1][1].items())


def test_groups_of_layers_give_what_all_at_once_give(sequences: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy", dtype="float64")
    whole = collected(objective)
    one = kfac.factor_bytes(objective, layers(objective)[:1], coupled=False)
    monkeypatch.setattr(kfac, "pass_bytes", lambda objective: one)
    assert len(list(kfac.groups_in_memory(objective, layers(objective), coupled=False))) == 3
    apart = collected(objective)
    assert all(
        torch.equal(whole[name].g, apart[name].g) and torch.equal(whole[name].a, apart[name].a) for name in whole
    )


def test_sums_in_a_file_are_those_in_memory_bit_for_bit(sequences: Data) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy")
    found, recipe = layers(objective), FactorSettings("exact", coupled=True)
    stores = [TensorStore(limit) for limit in (1e9, 200, 0)]
    for store in stores:
        *_, (_, _, sums) = stream_factors(objective, found, recipe, {}, store)
        assert sums is store
    assert [bool(store.file_bytes) for store in stores] == [False, True, True]
    assert stores[2].held_bytes == 0
    for name, value in stores[0].items():
        assert all(torch.equal(value, store[name]) for store in stores)


def test_the_group_that_is_measured_has_the_memory_to_itself(sequences: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy")
    found = layers(objective)
    one = kfac.factor_bytes(objective, found[:1], coupled=False)
    monkeypatch.setattr(kfac, "pass_bytes", lambda objective: one)
    store = TensorStore(one + 40)  # with the numbers of tokens, and of parts
    measured = []
    for _ in stream_factors(objective, found, FactorSettings("gold"), {}, store):
        in_file = {name for name, array in store.arrays().items() if isinstance(array, StoredArray)}
        measured.append({layer.name for layer in found if f"{layer.name}/gradients" in store.keys() - in_file})
    assert [*dict.fromkeys(map(tuple, measured))] == [(layer.name,) for layer in found]


@pytest.mark.parametrize("failing", range(1, 12))
def test_memory_that_runs_out_between_layers_counts_no_sample_twice(
    sequences: Data, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch comes again in halves when some of its sums are added, and others are not."""
    objective = Objective(Tokens(), sequences, "cross_entropy", dtype="float64", micro_batch=12)
    monkeypatch.setattr(kfac, "PARTS_OF_DATA", 2)
    whole = collected(objective, "exact", coupled=True)
    calls: list[int] = []

    def gram(*rows: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == failing:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(*rows)

    plain = factor_collector.gram
    monkeypatch.setattr(factor_collector, "gram", gram)
    halved = collected(objective, "exact", coupled=True)
    assert len(calls) >= failing
    for name, factor in whole.items():
        for field in fields(Factor):
            one, two = getattr(factor, field.name), getattr(halved[name], field.name)
            assert torch.allclose(one, two, rtol=1e-12, atol=1e-14), (name, field.name)


@pytest.mark.parametrize("sizes", [[24], [10, 10, 4]], ids=["one-batch", "ragged-batches"])
@pytest.mark.parametrize("labels", ["gold", "exact"])
def test_curvlinops_gives_the_same_factors(classification: Data, sizes: list[int], labels: Labels) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    net = tanh_net().double()
    data = [(x.double(), y) for x, y in zip(*(t.split(sizes) for t in classification), strict=True)]
    ours = collected(Objective(net, data, "cross_entropy", dtype="float64"), labels)
    operator = curvlinops.KFACLinearOperator(
        net,
        nn.CrossEntropyLoss(),
        list(net.parameters()),
        data,
        fisher_type="empirical" if labels == "gold" else "type-2",
        kfac_approx="expand",
        separate_weight_and_bias=True,
        progressbar=False,
        check_deterministic=False,
    )
    product = operator @ torch.eye(operator.shape[1], dtype=torch.float64)
    begin = 0
    for name, parameter in net.named_parameters():
        end = begin + parameter.numel()
        if name.endswith("weight"):
            factor = ours[name.removesuffix(".weight")]
            wanted = product[begin:end, begin:end]
            assert torch.allclose(torch.kron(factor.g, factor.a), wanted, rtol=0, atol=4e-16 * 24), name
        begin = end


class Routed(nn.Module):
    """Each row goes through one of four experts, by the sign of two of its features; the last gets none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.experts, self.head = nn.ModuleList(nn.Linear(4, 6) for _ in range(4)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        which = (x[..., 0] > 0).long() + (x[..., 1] > 0).long()
        hidden = x.new_zeros(*x.shape[:-1], 6)
        for number, expert in enumerate(self.experts):
            chosen = which == number
            if number < 2 or chosen.any():  # some are called with nothing, some not at all
                hidden = hidden.masked_scatter(chosen[..., None], expert(x[chosen]))
        out: Tensor = self.head(hidden.tanh())
        return out


def test_experts_have_the_factors_of_their_own_rows(sequences: Data) -> None:
    x, y = sequences[0], sequences[1].clamp_min(0)
    for micro_batch in (None, 1):
        objective = Objective(Routed(), (x, y), "cross_entropy", dtype="float64", micro_batch=micro_batch)
        found = collected(objective, "gold")
        which = (x[..., 0] > 0).long() + (x[..., 1] > 0).long()
        assert set(found) == {"experts.0", "experts.1", "experts.2", "head"}
        for number in range(3):
            rows = x[which == number].double()
            assert int(found[f"experts.{number}"].tokens) == len(rows)
            assert torch.allclose(found[f"experts.{number}"].a, rows.T @ rows / len(rows), atol=1e-13)


def test_homogeneous_inputs_have_a_one_behind_them(classification: Data, split: Splitter) -> None:
    """The last column of A is then the mean input, and its corner is 1; G is the same."""
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    found = layers(objective)
    plain = collected(objective)[found[0].name]
    *_, (_, _, sums) = stream_factors(objective, found, FactorSettings("exact"), {}, homogeneous=True)
    factor = kfac.assemble_factors(found, sums)[found[0].name]
    assert torch.allclose(factor.a[:5, :5], plain.a)
    assert torch.allclose(factor.a[5], torch.cat([classification[0].double().mean(dim=0), torch.ones(1)]))
    assert torch.allclose(factor.g, plain.g)
