"""What only CUDA has: recorded products, transfers ahead, a basis in the host's memory, running out of memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SAMPLES

import landscape
from landscape import (
    Objective,
)
from landscape.algorithms.lanczos.lanczos import lanczos
from landscape.algorithms.lanczos.ritz import ritz_pairs
from landscape.algorithms.lanczos.state import WantedPairs
from landscape.compute.strategy import ProductSettings
from landscape.operators import HessianOperator

pytestmark = [pytest.mark.device, pytest.mark.gpu]


@pytest.mark.parametrize(
    "settings",
    [ProductSettings("loop", cuda_graphs="on"), ProductSettings("vmap", cuda_graphs="on"), ProductSettings()],
)
def test_recorded_products_equal_launched_ones(settings: ProductSettings) -> None:
    plain, recorded = (
        landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64", cuda_graphs="off", micro_batch=500)
        for _ in range(2)
    )
    recorded.settings = settings
    operators = HessianOperator(plain), HessianOperator(recorded)
    for columns in (1, 8, 8, 1):
        block = torch.randn(plain.space.size, columns, dtype=torch.float64, device="cuda")
        products = [operator @ block for operator in operators]
        assert torch.allclose(*products, rtol=1e-9, atol=1e-9 * float(products[0].abs().max()))


def test_data_that_are_read_anew_are_copied_ahead() -> None:
    kept = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64")
    streamed = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64")
    batches = [batch.map(lambda tensor: tensor.cpu()) for batch in streamed.batches]
    streamed.batches = replace(streamed.batches, source=batches, kept=False, whole=None)
    assert torch.allclose(streamed.gradient(), kept.gradient(), rtol=1e-9, atol=1e-12)
    assert torch.allclose(HessianOperator(streamed) @ kept.theta, HessianOperator(kept) @ kept.theta, atol=1e-9)


def test_a_basis_in_the_host_s_memory_gives_the_same_eigenvalues() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda")
    operator, wanted = HessianOperator(objective), WantedPairs(3)
    values = []
    for spill in (False, True):
        *_, state = lanczos(operator, wanted, max_basis=30, max_products=200, block=2, spill=spill)
        values.append(ritz_pairs(state, wanted).values)
    assert np.allclose(*values, rtol=1e-5)


def test_running_out_of_memory_halves_and_goes_on() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 4096), torch.nn.Tanh(), torch.nn.Linear(4096, 10))
    data = [(torch.randn(20000, 64), torch.randint(0, 10, (20000,)))]
    roomy = Objective(net, data, "cross_entropy", device="cuda", micro_batch=1000)
    block = torch.randn(roomy.space.size, 8, device="cuda")
    expected = HessianOperator(roomy) @ block
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2e9 / torch.cuda.get_device_properties(0).total_memory)
    try:
        tight = Objective(
            net, data, "cross_entropy", device="cuda", micro_batch=20000, settings=ProductSettings("vmap")
        )
        product = HessianOperator(tight) @ block
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tight.micro_batch < 20000 or tight.strategies.latest("hessian", 8).columns < 8
    assert torch.allclose(product, expected, rtol=1e-4, atol=1e-6)
