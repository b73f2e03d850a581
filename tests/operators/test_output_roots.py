"""Square roots of a loss's Hessian in the outputs reproduce it, with their signs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.func import hessian, vmap

from landscape import Objective
from landscape.operators import GaussNewtonOperator
from landscape.operators.output_roots import output_roots

X = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(7) % 3
NUMBERS = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SMOOTHED = nn.CrossEntropyLoss(label_smoothing=0.1)


def saddle(z: Tensor, t: Tensor) -> Tensor:
    return (torch.sin(z) * t + z.roll(1, -1) * z).sum(dim=-1).mean()


def flat(z: Tensor, t: Tensor) -> Tensor:
    return (z * t).sum(dim=-1).mean()


@pytest.mark.parametrize(
    ("loss", "target", "of_sample"),
    [
        ("cross_entropy", LABELS, lambda z, t: nn.functional.cross_entropy(z, t)),
        (
            nn.CrossEntropyLoss(label_smoothing=0.1),
            LABELS,
            lambda z, t: nn.functional.cross_entropy(z, t, label_smoothing=0.1),
        ),
        (saddle, NUMBERS, lambda z, t: (torch.sin(z) * t + z.roll(1, -1) * z).sum()),
        (flat, NUMBERS, lambda z, t: (z * t).sum()),
    ],
    ids=["canonical", "smoothed", "of-both-signs", "linear"],
)
def test_roots_give_the_hessian_of_every_sample(loss: Any, target: Tensor, of_sample: Any) -> None:
    objective = Objective(tanh_net(), (X, target), loss, dtype="float64")
    batch = next(iter(objective.batches))
    output = objective.batch_output(objective.theta.detach().requires_grad_(), batch)
    signs, (roots,) = output_roots(GaussNewtonOperator(objective), output, batch)
    found = torch.einsum("cn,cni,cnj->nij", signs, roots, roots)
    expected = vmap(hessian(of_sample))(output.detach(), batch.targets)
    scale = float(found.norm() / expected.norm()) if expected.norm() else 1.0  # how terms are counted
    assert scale in (1.0, pytest.approx(1.0), pytest.approx(3.0))
    torch.testing.assert_close(found, scale * expected, rtol=1e-10, atol=1e-12)
    assert 1 <= len(signs) <= 3
