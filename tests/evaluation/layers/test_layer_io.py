"""Inputs and outputs of layers: which rows belong to which sample, and which count."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from conftest import tanh_net
from token_models import Tokens, collected, labeled_tokens, layers
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.layers.layer_io import LayerCapture
from landscape.network.linear_maps import linear_maps

Data = tuple[Tensor, Tensor]


@pytest.fixture
def sequences(generator: torch.Generator) -> Data:
    return labeled_tokens(generator)


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


def test_nothing_in_the_model_changes(classification: Data) -> None:
    net = tanh_net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    collected(Objective(net, classification, "cross_entropy"))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


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
        for calls in LayerCapture(folded, layers(folded)).run(next(iter(folded.batches))).calls
        for call in calls
    }
    assert list(axes.values()) == [1, None]


class Slope(nn.Module):
    """A net's derivative in its inputs, by three ways to differentiate."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.way = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "torch.func.vmap":
            return torch.func.vmap(torch.func.grad(lambda z: self.net(z).sum()))(x)
        if self.way == "torch.func.grad":
            return torch.func.grad(lambda z: self.net(z).sum())(x)
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]


@pytest.mark.parametrize("with_graph", [False, True], ids=["weights-fixed", "weights-with-graph"])
def test_layers_inside_torch_func_grad_have_the_gradients_of_those_inside_autograd(with_graph: bool) -> None:
    """d loss / d output of each layer, also where theta has a graph of its own."""
    found = []
    for way in ("torch.autograd", "torch.func.grad"):
        objective = Objective(Slope(way), (torch.rand(6, 2, generator=seeded()), torch.zeros(6, 2)), "mse")
        layers, _ = linear_maps(objective.model, objective.space.names)
        capture = LayerCapture(objective, layers)
        batch = next(iter(objective.batches))
        forward = capture.run(batch, objective.theta.requires_grad_() if with_graph else None)
        found.append(forward.gradients(objective.loss_total(forward.output, batch)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one[0], other[0], rtol=1e-5, atol=1e-7)
    assert float(found[0][0][0].abs().max()) > 0


def test_layers_inside_torch_func_vmap_are_refused_in_words() -> None:
    objective = Objective(Slope("torch.func.vmap"), (torch.rand(6, 2), torch.zeros(6, 2)), "mse")
    layers, _ = linear_maps(objective.model, objective.space.names)
    with pytest.raises(TaskError, match=r"a Linear is called inside torch.func.vmap.*\n.*all samples at once"):
        LayerCapture(objective, layers)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
