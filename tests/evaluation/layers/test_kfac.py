"""K-FAC factors against the dense Gauss-Newton matrix where theory makes them exact, direct sums, and curvlinops."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.choices import Labels
from landscape.errors import TaskError, UsageError
from landscape.evaluation.layers import kfac
from landscape.evaluation.layers.kfac import Factor, FactorCollector, FactorSettings, assemble_factors, stream_factors
from landscape.evaluation.layers.layer_io import measurable_layers
from landscape.network.linear_maps import LinearMap, linear_maps
from landscape.operators import GaussNewtonOperator

Data = tuple[Tensor, Tensor]


def layers(objective: Objective) -> list[LinearMap]:
    return measurable_layers(objective, linear_maps(objective.model, objective.space.names)[0])[0]


def collected(objective: Objective, labels: Labels = "exact", **recipe: Any) -> dict[str, Factor]:
    found = layers(objective)
    *_, (_, _, sums) = stream_factors(objective, found, FactorSettings(labels, **recipe), {})
    return assemble_factors(found, sums)


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


class Conv(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(2, 3, 3, **options)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv(x).tanh().mean(dim=(2, 3)))
        return out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
        {"stride": 2, "dilation": 2},
        {"padding": (2, 1)},
    ],
    ids=str,
)
def test_the_rows_of_a_convolution_times_its_matrix_are_its_output(
    options: dict[str, Any], generator: torch.Generator
) -> None:
    from landscape.network.linear_maps import input_rows, output_rows

    net, x = Conv(**options), torch.randn(4, 2, 7, 6, generator=generator)
    (conv, _), _ = linear_maps(net, dict(net.named_parameters()))
    rows = input_rows(net.conv, x) @ conv.matrix(net.conv.weight).T
    assert net.conv.bias is not None
    assert torch.allclose(rows + net.conv.bias, output_rows(net.conv, net.conv(x)), atol=1e-5)
    assert torch.equal(conv.weight(conv.matrix(net.conv.weight)), net.conv.weight)


class Tokens(nn.Module):
    """Five tokens a sample, mixed with each other, with a class for each; q and k share their input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.q, self.k, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        mixed = (self.q(x) @ self.k(x).transpose(1, 2)).tanh() @ self.q(x)
        out: Tensor = self.out(mixed)
        return out


@pytest.fixture
def sequences(generator: torch.Generator) -> Data:
    x, y = torch.randn(12, 5, 4, generator=generator), torch.randint(0, 3, (12, 5), generator=generator)
    y[2, 3:] = -100
    y[7] = -100
    return x, y


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


def test_layers_with_one_input_share_its_sums(sequences: Data) -> None:
    objective = Objective(Tokens(), sequences, "cross_entropy", dtype="float64")
    found = layers(objective)
    collector = FactorCollector(objective, found, FactorSettings("gold"))
    assert collector.shares == {"k": "q"} or collector.shares == {}  # q is called twice, k once
    net = nn.Module()
    net.a, net.b = nn.Linear(4, 3), nn.Linear(4, 3)
    net.forward = lambda x: net.a(x) * net.b(x)
    x, y = sequences[0][:, 0], sequences[1][:, 0].clamp_min(0)
    twin = Objective(net, (x, y), "cross_entropy", dtype="float64")
    names = [
        name for name in FactorCollector(twin, layers(twin), FactorSettings("gold")).names if "activations" in name
    ]
    assert names == ["a/activations"]
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


def test_a_large_gram_matrix_is_made_of_strips(generator: torch.Generator) -> None:
    rows = torch.randn(20, kfac.STRIPPED_FROM + 3, dtype=torch.float64, generator=generator)
    weights = torch.rand(20, dtype=torch.float64, generator=generator)
    assert torch.allclose(kfac._whole(kfac.gram(rows)), rows.T @ rows, atol=1e-12)
    assert torch.allclose(kfac._whole(kfac.gram(rows, weights)), rows.T @ torch.diag(weights) @ rows, atol=1e-12)


def test_what_writes_into_its_tensors_gives_the_same_factors(classification: Data) -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(4)
            self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 3)
            self.inplace = False

        def forward(self, x: Tensor) -> Tensor:
            h = x * 1.5
            y = self.a(h)
            h = h.add_(1) if self.inplace else h + 1
            y = y.relu_() if self.inplace else y.relu()
            out: Tensor = self.b(y + h)
            return out

    plain, inside = Inside(), Inside()
    inside.inplace = True
    one, two = (collected(Objective(net, classification, "cross_entropy", dtype="float64")) for net in (plain, inside))
    for name in one:
        assert torch.allclose(one[name].a, two[name].a, atol=1e-14)
        assert torch.allclose(one[name].g, two[name].g, atol=1e-14)


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
    monkeypatch.setattr(
        "landscape.compute.memory.free_bytes",
        lambda device: 4 * kfac.factor_bytes(objective, layers(objective)[:1], coupled=False),
    )
    assert len(list(kfac.layer_groups(objective, layers(objective), coupled=False))) == 3
    apart = collected(objective)
    assert all(
        torch.equal(whole[name].g, apart[name].g) and torch.equal(whole[name].a, apart[name].a) for name in whole
    )


def test_nothing_in_the_model_changes(classification: Data) -> None:
    net = tanh_net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    collected(Objective(net, classification, "cross_entropy"))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_a_loss_that_is_no_likelihood_asks_for_the_data_s_labels(classification: Data) -> None:
    def hinge(output: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(output, target)

    objective = Objective(tanh_net(), classification, hinge)
    with pytest.raises(TaskError, match="--labels gold"):
        kfac.fisher_labels.choose_labels(objective, None)
    assert collected(objective, "gold")["0"].g.trace() > 0


def test_tied_and_odd_weights_are_left_out_and_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            self.head.weight = self.tokens.weight
            self.grouped = nn.Conv2d(4, 4, 1, groups=2)
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
            self.two.weight = self.one.weight

    net = Odd()
    found, left_out = linear_maps(net, dict(net.named_parameters()))
    assert [one.name for one in found] == ["one"]
    assert found[0].modules == (net.one, net.two)
    assert sorted(left_out) == ["grouped", "head", "normed"]


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


class SequenceFirst(nn.Module):
    """The same net as `Tokens`, which hands (rows, samples, features) to its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Tokens()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x.transpose(0, 1)).tanh()
        out: Tensor = self.b(hidden + hidden.mean(dim=0)).transpose(0, 1)
        return out


class SamplesFirst(SequenceFirst):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x).tanh()
        out: Tensor = self.b(hidden + hidden.mean(dim=1, keepdim=True))
        return out


@pytest.mark.parametrize("micro_batch", [None, 1, 3])
def test_rows_before_samples_are_told_from_samples_before_rows(sequences: Data, micro_batch: int | None) -> None:
    torch.manual_seed(0)
    one, two = SamplesFirst(), SequenceFirst()
    two.load_state_dict(one.state_dict())
    found = [
        collected(
            Objective(net, sequences, "cross_entropy", params=("a.*", "b.*"), dtype="float64", micro_batch=size), "gold"
        )
        for net, size in ((one, None), (two, micro_batch))
    ]
    for name in ("a", "b"):
        assert torch.allclose(found[0][name].a, found[1][name].a, atol=1e-13)
        assert torch.allclose(found[0][name].g, found[1][name].g, atol=1e-13)
        assert found[0][name].tokens == found[1][name].tokens


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


def test_positions_of_a_shifted_loss_count_where_their_successor_does() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.randint(0, 11, (5, 7), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[1, 4:] = -100
    labels[3, :3] = -100
    objective = Objective(model, {"input_ids": ids, "labels": labels}, "hf", dtype="float64")
    factor = collected(objective, "gold")["transformer.h.0.mlp.c_fc"]
    seen: list[Tensor] = []
    handle = model.transformer.h[0].mlp.c_fc.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    with torch.no_grad():
        model.double()(input_ids=ids)
    handle.remove()
    rows = seen[0][:, :-1][labels[:, 1:] != -100]
    assert int(factor.tokens) == len(rows)
    assert torch.allclose(factor.a, rows.T @ rows / len(rows), atol=1e-12)


def test_all_rows_of_a_sample_count_if_any_of_its_targets_does(sequences: Data) -> None:
    """Five rows and two targets a sample: rows and targets do not correspond."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(7)
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x).tanh().mean(dim=1)
            out: Tensor = self.b(torch.stack([hidden, -hidden], dim=1))
            return out

    targets = torch.zeros(12, 2, dtype=torch.long)
    targets[3, 0] = -100
    targets[5] = -100
    factor = collected(Objective(Pooled(), (sequences[0], targets), "cross_entropy", dtype="float64"), "gold")["a"]
    assert int(factor.tokens) == 11 * 5


def test_a_weighted_loss_has_no_exact_labels(classification: Data) -> None:
    x, y = classification
    labels = functional.one_hot(y, 3).float()
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 5.0, 20.0]))
    objective = Objective(tanh_net(), (x, labels), loss)
    with pytest.raises(TaskError, match="--labels gold"):
        kfac.fisher_labels.choose_labels(objective, None)
    with pytest.raises(UsageError, match="exact does not know"):
        collected(objective, "exact")


def test_gradient_checkpointing_does_not_matter_and_other_recomputation_is_refused(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.checkpoint import checkpoint

    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = x.requires_grad_() if torch.is_grad_enabled() else x
            hidden: Tensor = checkpoint(lambda t: self.a(t).tanh().exp(), x, use_reentrant=False)  # type: ignore[no-untyped-call]
            out: Tensor = self.b(hidden)
            return out

    class Plain(Again):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(self.a(x).tanh().exp())
            return out

    again, plain = (collected(Objective(net, classification, "cross_entropy"), "gold") for net in (Again(), Plain()))
    for name, factor in plain.items():
        assert torch.allclose(again[name].a, factor.a)
        assert torch.allclose(again[name].g, factor.g)
    monkeypatch.setattr("landscape.objective.model_function.without_recomputation", nullcontext)
    with pytest.raises(TaskError, match="gradient checkpointing"):
        collected(Objective(Again(), classification, "cross_entropy"), "gold")


def test_a_module_that_gives_something_else_than_its_matrix_is_left_out(classification: Data) -> None:
    class Standardised(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean(dim=1, keepdim=True)
            return functional.linear(x, weight, self.bias)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), Standardised(4, 4), nn.Tanh(), nn.Linear(4, 3))
    objective = Objective(net, classification, "cross_entropy")
    used, unused = measurable_layers(objective, linear_maps(net, objective.space.names)[0])
    assert [one.name for one in used] == ["0", "4"]
    assert unused == ["2"]


def test_a_model_s_own_hook_does_not_change_what_is_captured(classification: Data) -> None:
    plain, hooked = tanh_net(), tanh_net()
    hooked[0].register_forward_hook(lambda module, given, output: 3 * output)
    found = collected(Objective(hooked, classification, "cross_entropy", dtype="float64"), "gold")["0"]
    net = plain.double()
    x, y = classification
    hidden = net[0](x.double())
    loss = functional.cross_entropy(net[2](torch.tanh(3 * hidden)), y, reduction="sum")
    (g,) = torch.autograd.grad(loss, hidden)
    assert torch.allclose(found.g, g.T @ g / len(x), atol=1e-12)


def test_rows_before_samples_are_told_in_every_shape(generator: torch.Generator) -> None:
    class Heads(nn.Module):
        """(rows, samples, heads, features), and at the end rows folded before samples."""

        def __init__(self, fold: bool) -> None:
            super().__init__()
            torch.manual_seed(9)
            self.a, self.b, self.fold = nn.Linear(4, 5), nn.Linear(5, 3), fold

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x.view(len(x), 6, 2, 4).transpose(0, 1)).tanh()
            hidden = hidden.mean(dim=2)
            if self.fold:
                out: Tensor = self.b(hidden.reshape(-1, 5)).view(6, len(x), 3).transpose(0, 1)
                return out
            return self.b(hidden.transpose(0, 1))

    x, y = torch.randn(7, 48, generator=generator), torch.randint(0, 3, (7, 6), generator=generator)
    y[2] = -100
    one = collected(Objective(Heads(False), (x, y), "cross_entropy", dtype="float64"), "gold")
    assert int(one["a"].tokens) == 6 * 12
    rows = x[y[:, 0] >= 0].reshape(-1, 4).double()
    assert torch.allclose(one["a"].a, rows.T @ rows / len(rows), atol=1e-12)
    folded = Objective(Heads(True), (x, y), "cross_entropy", dtype="float64")
    axes = {
        call.module: call.axis
        for calls in kfac.LayerCapture(folded, layers(folded)).run(next(iter(folded.batches))).calls
        for call in calls
    }
    assert list(axes.values()) == [1, None]
