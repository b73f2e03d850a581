"""Weights, vectors and basis in the memory of the host: the device computes, and the numbers are those of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sharded_models
import torch
from conftest import SAMPLES

import landscape
from landscape import Eig, Trace
from landscape.analyses.base import Analysis
from landscape.network.absent_weights import absent
from landscape.objective.sharded import weights
from landscape.objective.sharded.objective import ShardedObjective

pytestmark = [pytest.mark.device, pytest.mark.other_device]


@pytest.fixture(autouse=True)
def _absent_weights_on_the_cpu(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Tensors of the strict device are a class of their own, which parameters without values cannot be made of."""
    if device == "strict":
        monkeypatch.setattr(
            weights, "absent", lambda parameter, _, dtype: absent(parameter, torch.device("cpu"), dtype)
        )


def objective(name: str, device: str, **options: bool) -> ShardedObjective:
    data = sharded_models.MODELS[name][1]
    return ShardedObjective(
        sharded_models.build(name), data, "cross_entropy", dtype="float64", device=device, micro_batch=5, **options
    )


@pytest.mark.parametrize("name", sharded_models.MODELS)
def test_loss_gradient_and_product_are_the_cpu_s(name: str, device: str) -> None:
    here, there = objective(name, "cpu"), objective(name, device, on_host=True)
    assert there.theta.device.type == "cpu"
    assert there.device.type == device
    (loss, gradient), (other_loss, other_gradient) = here.value_and_gradient(), there.value_and_gradient()
    assert float(loss) == pytest.approx(float(other_loss), rel=1e-13)
    torch.testing.assert_close(other_gradient, gradient, rtol=1e-12, atol=1e-14)
    vector = torch.linspace(-1, 1, len(here.theta), dtype=torch.float64)
    torch.testing.assert_close(there.product(vector), here.product(vector), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("analysis", "field"), [(Eig(k=3), "eigenvalues"), (Trace(method="xtrace", max_products=24), "trace")]
)
def test_a_checkpoint_that_is_measured_so_has_the_cpu_s_numbers(
    analysis: Analysis, field: str, device: str, tmp_path: Path
) -> None:
    found = []
    for where in ("cpu", device):
        made = landscape.load(SAMPLES / "digits-mlp.pt", device=where, shard="host", limit=100)
        result = landscape.run(analysis, made, output=tmp_path / f"{where}.h5")
        assert "the memory of the host" in " ".join(made.notes) or where == "cpu"
        found.append(np.asarray(getattr(result, field)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
