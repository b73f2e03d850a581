"""Blocks that keep their inputs alone: derivatives equal those of the plain model, and memory is that of one block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from live_bytes import peak_bytes
from repeating_models import LABELS, REALS, Stack
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.strategy import ProductSettings
from landscape.errors import UsageError
from landscape.network.block_recomputation import recompute_blocks, without_caches
from landscape.operators import FisherOperator, GaussNewtonOperator, HessianOperator
from landscape.zoo.resnet import resnet
from landscape.zoo.transformer import char_transformer


class Case(NamedTuple):
    model: Callable[[], nn.Module]
    inputs: Tensor
    targets: Tensor
    params: tuple[str, ...] = ()


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Encoder(nn.Module):
    """Torch's own encoder layers, with padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, dropout=0.3)
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[:, -1] = True
        logits: Tensor = self.head(self.layers(x, src_key_padding_mask=padding)[:, 0])
        return logits


def images() -> nn.Module:
    torch.manual_seed(2)
    return resnet(blocks=1, width=2, classes=3)


def characters() -> nn.Module:
    torch.manual_seed(2)
    return char_transformer(vocabulary=6, width=4, layers=3, heads=2, length=5)


TOKENS = torch.randint(0, 6, (4, 6), generator=generator(4))
CASES = {
    "stack": Case(Stack, REALS, LABELS),
    "one block's parameters": Case(Stack, REALS, LABELS, ("blocks.1.*",)),
    "head's parameters": Case(Stack, REALS, LABELS, ("head.bias",)),
    "torch's encoder": Case(Encoder, torch.randn(5, 4, 4, generator=generator(5)), LABELS[:5]),
    "residual net": Case(images, torch.randn(5, 1, 8, 8, generator=generator(6)), LABELS[:5]),
    "characters": Case(characters, TOKENS[:, :-1], TOKENS[:, 1:]),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    case: Case = request.param
    return case


def objective(case: Case, recompute: Any, **settings: Any) -> Objective:
    return Objective(
        case.model(),
        [(case.inputs[:3], case.targets[:3]), (case.inputs[3:], case.targets[3:])],
        "cross_entropy",
        params=case.params,
        dtype="float64",
        settings=ProductSettings(recompute=recompute, **settings),
    )


def test_gradients_and_products_are_those_of_the_plain_model(case: Case) -> None:
    plain, mine = objective(case, "off"), objective(case, "on")
    assert mine.function.recomputes
    assert not plain.function.recomputes
    away = plain.theta + 0.1 * torch.randn(plain.theta.shape, generator=generator(7), dtype=torch.float64)
    block = torch.randn(len(away), 3, generator=generator(8), dtype=torch.float64)
    for theta in (plain.theta, away):
        torch.testing.assert_close(mine.value(theta), plain.value(theta), rtol=0, atol=0)
        torch.testing.assert_close(mine.gradient(theta), plain.gradient(theta), rtol=1e-14, atol=1e-16)
        for kind in (HessianOperator, GaussNewtonOperator, FisherOperator):
            expected, operator = kind(plain, theta).matmat(block), kind(mine, theta)
            for _ in range(2):  # a new graph, and the kept one
                torch.testing.assert_close(operator.matmat(block), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("hvp", ["loop", "vmap"])
def test_columns_go_one_by_one_or_together(hvp: Any) -> None:
    case = CASES["stack"]
    plain, mine = objective(case, "off"), objective(case, "on", hvp=hvp)
    block = torch.randn(plain.space.size, 4, generator=generator(8), dtype=torch.float64)
    expected = HessianOperator(plain).matmat(block)
    assert mine.function.recomputes
    torch.testing.assert_close(HessianOperator(mine).matmat(block), expected, rtol=1e-11, atol=1e-13)


def test_a_third_derivative_is_that_of_the_plain_model() -> None:
    case = CASES["stack"]
    found = []
    for way in ("off", "on"):
        one = objective(case, way)
        theta, batch = one.theta.clone().requires_grad_(), next(one.micro_batches())
        value = one.batch_total(theta, batch)
        for seed in range(2):
            (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
            value = (gradient * torch.randn(theta.shape, generator=generator(seed), dtype=theta.dtype)).sum()
        found.append(torch.autograd.grad(value, theta)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-11, atol=1e-12)


def test_a_model_in_train_mode_is_measured_in_eval_mode_and_left_as_it_was() -> None:
    case = CASES["stack"]
    net = case.model().train()
    own = net.blocks[0].forward  # type: ignore[union-attr, index]
    net.blocks[0].forward = own  # type: ignore[union-attr, index]
    batches = [(case.inputs, case.targets)]
    mine = Objective(net, batches, "cross_entropy", settings=ProductSettings(recompute="on"))
    plain = Objective(case.model().eval(), batches, "cross_entropy", settings=ProductSettings(recompute="off"))
    assert mine.function.recomputes
    torch.testing.assert_close(mine.gradient(), plain.gradient())
    assert net.blocks[0].training  # type: ignore[union-attr, index]
    assert net.blocks[0].forward is own  # type: ignore[union-attr, index]
    assert "forward" not in vars(net.blocks[1])  # type: ignore[index]


def test_products_hold_the_activations_of_one_block() -> None:
    """Twelve layers with attention over 96 tokens: the scores of one layer are a twelfth of all."""
    torch.manual_seed(0)
    net, tokens = char_transformer(vocabulary=6, width=8, layers=12, heads=4, length=96), torch.randint(0, 6, (1, 97))
    peaks = {}
    for way in ("off", "on"):
        settings = ProductSettings(recompute=way)  # type: ignore[arg-type]
        one = Objective(net, [(tokens[:, :-1], tokens[:, 1:])], "cross_entropy", settings=settings)
        operator, batch, vector = HessianOperator(one), next(one.micro_batches()), torch.randn(one.space.size, 1)

        def product(operator: Any = operator, batch: Any = batch, vector: Any = vector) -> None:
            operator.graph(batch)(vector, chunk_size=1, retain_graph=False)

        peaks[way] = peak_bytes(product)
    assert peaks["on"] < peaks["off"] / 3


def test_a_block_with_hooks_on_its_parts_runs_as_it_is() -> None:
    net, seen = Stack(), []
    with recompute_blocks(list(net.blocks), list):
        net(REALS)
        handle = net.blocks[1].inner.register_forward_hook(lambda *parts: seen.append(parts[2]))  # type: ignore[union-attr, operator]
        output = net(REALS)
    handle.remove()
    (gradient,) = torch.autograd.grad(output.sum(), seen[0])
    assert gradient.any()  # what the hook saw is part of the graph


class Odd(nn.Module):
    """A block whose argument, or result, is an object of unknown type."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x: Any, mask: Any = None, note: Any = None) -> Any:
        return [NamedResult(self.part(x))] if not isinstance(x, NamedResult) else self.part(x.hidden)


class NamedResult:
    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


def test_arguments_and_results_of_unknown_types_are_left_alone() -> None:
    first, second, x = Odd(), Odd(), torch.randn(2, 4)
    with recompute_blocks([first, second], list):
        middle = first(x)[0]
        total = second(middle).sum()
    (gradient,) = torch.autograd.grad(total, first.part[0].weight)
    assert gradient.any()


class Remembering(nn.Module):
    """A block that leaves a tensor on itself, which the model reads: no function of its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x: Tensor, mask: Any = None, note: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        self.extra = self.part(x).sum()
        return x + self.part(x), {"side": self.extra * 0}


class ReadsExtra(Stack):
    def __init__(self) -> None:
        super().__init__(Remembering)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.stack([block.extra for block in self.blocks]).sum()  # type: ignore[misc]


def test_a_block_that_is_no_function_of_its_arguments_is_found_out() -> None:
    case = Case(ReadsExtra, REALS, LABELS)
    plain, mine = objective(case, "off"), objective(case, "on")
    torch.testing.assert_close(mine.gradient(), plain.gradient(), rtol=1e-12, atol=1e-14)
    assert any("recompute: off" in note for note in mine.notes)


def test_keys_and_values_for_later_tokens_are_not_kept() -> None:
    class Config:
        use_cache = True
        text_config: Any = None

    model = nn.Module()
    model.config = Config()  # type: ignore[assignment]
    with without_caches(model):
        assert not model.config.use_cache  # type: ignore[union-attr]
    assert model.config.use_cache  # type: ignore[union-attr]


def test_a_language_model_with_a_cache_is_measured_right() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=8, n_embd=4, n_layer=3, n_head=2, bos_token_id=0, eos_token_id=0
    )
    net = transformers.GPT2LMHeadModel(config)
    data = [{"input_ids": torch.randint(0, 11, (2, 8))}]
    plain, mine = (
        Objective(net, data, "hf", dtype="float64", settings=ProductSettings(recompute=way)) for way in ("off", "on")
    )
    assert mine.function.recomputes
    vector = torch.randn(plain.space.size, dtype=torch.float64)
    torch.testing.assert_close(mine.gradient(), plain.gradient(), rtol=1e-13, atol=1e-16)
    torch.testing.assert_close(HessianOperator(mine) @ vector, HessianOperator(plain) @ vector, rtol=1e-10, atol=1e-13)
    assert net.config.use_cache


def test_what_cannot_run_again_is_refused() -> None:
    case = CASES["stack"]
    with pytest.raises(UsageError, match=r"--recompute on is impossible.*\n.*train mode.*\n.*--micro-batch"):
        Objective(
            case.model(),
            [(case.inputs, case.targets)],
            "cross_entropy",
            mode="train",
            settings=ProductSettings(recompute="on"),
        )
